"""Asks of models, as each vendor and instrumentation writes them, are calls."""

import json

import pytest

from contracts.span import Value
from tests.span_cases import ARGUMENTS, TEXT, One, ask, calls_of, spans_of

OUTPUTS: dict[str, dict[str, Value]] = {
    "semconv parts": {"gen_ai.output.messages": ask(id="c1", name="refund", arguments=ARGUMENTS)},
    "semconv parts, arguments as text": {
        "gen_ai.output.messages": ask(id="c1", name="refund", arguments=TEXT)
    },
    "semconv, any value": {
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [
                    {"type": "text", "content": "Well."},
                    {"type": "tool_call", "id": "c1", "name": "refund", "arguments": ARGUMENTS},
                ],
            }
        ]
    },
    "openai chat": {
        "gen_ai.completion": json.dumps(
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "tool_calls": [
                                {
                                    "id": "c1",
                                    "type": "function",
                                    "function": {"name": "refund", "arguments": TEXT},
                                }
                            ],
                        }
                    }
                ]
            }
        )
    },
    "openai responses": {
        "output.value": json.dumps(
            {
                "output": [
                    {
                        "type": "function_call",
                        "call_id": "c1",
                        "id": "fc_1",
                        "name": "refund",
                        "arguments": TEXT,
                    }
                ]
            }
        ),
        "openinference.span.kind": "LLM",
    },
    "anthropic": {
        "langfuse.observation.type": "generation",
        "langfuse.observation.output": json.dumps(
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "refund", "input": ARGUMENTS}],
            }
        ),
    },
    "bedrock": {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.spanOutputs": json.dumps(
            {
                "output": {
                    "message": {
                        "role": "assistant",
                        "content": [
                            {"toolUse": {"toolUseId": "c1", "name": "refund", "input": ARGUMENTS}}
                        ],
                    }
                }
            }
        ),
    },
    "google": {
        "openinference.span.kind": "LLM",
        "output.value": json.dumps(
            {
                "candidates": [
                    {
                        "content": {
                            "role": "model",
                            "parts": [
                                {"functionCall": {"id": "c1", "name": "refund", "args": ARGUMENTS}}
                            ],
                        }
                    }
                ]
            }
        ),
    },
    "genkit": {
        "genkit:metadata:subtype": "model",
        "genkit:name": "acme/m",
        "genkit:output": json.dumps(
            {
                "message": {
                    "role": "model",
                    "content": [
                        {"toolRequest": {"ref": "c1", "name": "refund", "input": ARGUMENTS}}
                    ],
                }
            }
        ),
    },
    "vercel": {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.response.toolCalls": json.dumps(
            [{"toolCallId": "c1", "toolName": "refund", "input": TEXT}]
        ),
    },
    "livekit": {
        "lk.response.function_calls": json.dumps(
            [{"call_id": "c1", "name": "refund", "arguments": TEXT}]
        ),
    },
    "sentry": {
        "gen_ai.response.tool_calls": json.dumps(
            [{"id": "c1", "name": "refund", "arguments": TEXT}]
        ),
    },
    "openllmetry, flattened": {
        "llm.request.type": "chat",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": "refund",
        "gen_ai.completion.0.tool_calls.0.arguments": TEXT,
    },
    "openllmetry, older": {
        "llm.request.type": "chat",
        "llm.completions.0.role": "assistant",
        "llm.completions.0.function_call.name": "refund",
        "llm.completions.0.function_call.arguments": TEXT,
        "llm.completions.0.function_call.id": "c1",
    },
    "openinference, flattened": {
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "refund",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": TEXT,
    },
    "openinference, ordered contents": {
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.contents.0.message_content.type": "text",
        "llm.output_messages.0.message.contents.0.message_content.text": "Well.",
        "llm.output_messages.0.message.contents.1.message_content.type": "tool_use",
        "llm.output_messages.0.message.contents.1.tool_call.id": "c1",
        "llm.output_messages.0.message.contents.1.tool_call.function.name": "refund",
        "llm.output_messages.0.message.contents.1.tool_call.function.arguments": TEXT,
    },
    "langchain generations": {
        "langsmith.span.kind": "llm",
        "gen_ai.completion": json.dumps(
            {
                "generations": [
                    [
                        {
                            "text": "",
                            "message": {
                                "lc": 1,
                                "type": "constructor",
                                "id": ["langchain", "schema", "messages", "AIMessage"],
                                "kwargs": {
                                    "content": "",
                                    "type": "ai",
                                    "tool_calls": [
                                        {
                                            "name": "refund",
                                            "args": ARGUMENTS,
                                            "id": "c1",
                                            "type": "tool_call",
                                        }
                                    ],
                                    "additional_kwargs": {
                                        "tool_calls": [
                                            {
                                                "id": "c1",
                                                "function": {"name": "refund", "arguments": TEXT},
                                            }
                                        ]
                                    },
                                },
                            },
                        }
                    ]
                ]
            }
        ),
    },
    "a python repr": {
        "gen_ai.output.messages": json.dumps(
            [
                {
                    "role": "assistant",
                    "parts": [
                        {
                            "type": "text",
                            "content": f"ResponseFunctionToolCall(arguments={TEXT!r}, "
                            "call_id='c1', name='refund', type='function_call', status=None)",
                        }
                    ],
                }
            ]
        )
    },
    "logfire, openai client": {
        "logfire.msg_template": "Chat Completion with {request_data[model]!r}",
        "response_data": json.dumps(
            {
                "message": {
                    "role": "assistant",
                    "tool_calls": [{"id": "c1", "function": {"name": "refund", "arguments": TEXT}}],
                }
            }
        ),
    },
}


@pytest.mark.parametrize("accent", OUTPUTS)
def test_an_ask_without_a_span_is_a_call(accent: str) -> None:
    attributes: dict[str, Value] = {"gen_ai.request.model": "m", **OUTPUTS[accent]}
    (call,) = calls_of(spans_of([One("chat m", attributes)]))
    assert (call.tool, call.call_id, call.arguments) == ("refund", "c1", ARGUMENTS)
    assert call.model == "m"
    assert call.outcome == "unknown"


@pytest.mark.parametrize("accent", OUTPUTS)
def test_an_ask_and_its_span_are_one_call(accent: str) -> None:
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **OUTPUTS[accent]}
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
    (call,) = calls_of(
        spans_of(
            [One("root"), One("chat m", chat, under=0), One("execute_tool refund", tool, under=0)]
        )
    )
    assert (call.call_id, call.arguments, call.outcome) == ("c1", ARGUMENTS, "ok")
