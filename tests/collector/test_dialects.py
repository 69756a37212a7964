"""Accents: spans as the conventions and instrumentations' sources describe them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.dialects import DIALECTS
from collector.sessions import Sessions
from contracts.span import STATUS_ERROR, Event, LogEvent, Span, Value
from contracts.testing import Spans
from contracts.trajectory import Call

ARGUMENTS: dict[str, Value] = {"order_id": "ORD-7", "amount": 12.5}
TEXT = json.dumps(ARGUMENTS)


@dataclass(frozen=True)
class One:
    """A span of a case. `under`: position of its parent in the case, -1 for none."""

    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])
    under: int = -1
    events: tuple[Event, ...] = ()
    status_code: int = 0
    scope: str = "test"


def spans_of(case: Sequence[One], trace: int = 1) -> list[Span]:
    maker = Spans(trace)
    made: list[Span] = []
    for one in case:
        made.append(
            maker.span(
                one.name,
                one.attributes,
                parent=made[one.under].span_id if one.under >= 0 else "",
                events=one.events,
                status_code=one.status_code,
                scope=one.scope,
            )
        )
    return made


def calls_of(spans: Sequence[Span], logs: Sequence[LogEvent] = ()) -> list[Call]:
    sessions = Sessions(environment="test")
    sessions.add(spans, logs)
    due = sessions.assemble(2**62, everything_due=True).due
    return [call for trajectory in due for call in trajectory.calls]


def ask(**call: Value) -> str:
    return json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", **call}]}])


def event(name: str, **attributes: Value) -> Event:
    return Event(name, 0, attributes)


TOOL_SPANS: dict[str, One] = {
    "semconv, structured": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": ARGUMENTS,
            "gen_ai.tool.call.result": {"ok": True},
        },
    ),
    "semconv, bytes": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": TEXT.encode(),
            "gen_ai.tool.call.result": b'{"ok": true}',
        },
    ),
    "semconv without an operation": One(
        "refund",
        {
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.arguments": TEXT,
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "pydantic-ai, format 2": One(
        "running tool",
        {
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "tool_arguments": TEXT,
            "tool_response": '{"ok": true}',
            "logfire.msg": "running tool: refund",
        },
    ),
    "strands events": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
        },
        events=(
            event("gen_ai.tool.message", role="tool", content=TEXT, id="c1"),
            event("gen_ai.choice", message='[{"text": "{\\"ok\\": true}"}]', id="c1"),
        ),
    ),
    "google adk, schema 1": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gcp.vertex.agent.tool_call_args": TEXT,
            "gcp.vertex.agent.tool_response": '{"ok": true}',
        },
    ),
    "sentry": One(
        "execute_tool refund",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.input": TEXT,
            "gen_ai.tool.output": '{"ok": true}',
            "tool_call_id": "c1",
        },
    ),
    "openinference": One(
        "refund",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool_call.id": "c1",
            "input.value": TEXT,
            "output.value": '{"ok": true}',
        },
    ),
    "openinference, arguments in a call": One(
        "FunctionTool.acall",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.id": "c1",
            "input.value": json.dumps({"args": [], "kwargs": ARGUMENTS}),
            "output.value": '{"ok": true}',
            "tool.parameters": '{"type": "object", "properties": {"order_id": {"type": "string"}}}',
        },
    ),
    "openinference, parameters are the arguments": One(
        "refund",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.parameters": TEXT,
            "tool.id": "c1",
        },
    ),
    "traceloop langchain": One(
        "refund.tool",
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "refund",
            "traceloop.entity.input": json.dumps(
                {
                    "input_str": str(ARGUMENTS),
                    "tags": [],
                    "metadata": {},
                    "inputs": ARGUMENTS,
                    "kwargs": {"color": "green", "tool_call_id": "c1"},
                }
            ),
            "traceloop.entity.output": json.dumps(
                {"output": {"lc": 1, "type": "constructor", "kwargs": {"content": '{"ok": true}'}}}
            ),
        },
    ),
    "langfuse": One(
        "refund",
        {
            "langfuse.observation.type": "tool",
            "langfuse.observation.input": TEXT,
            "langfuse.observation.output": json.dumps(
                {"content": '{"ok": true}', "type": "tool", "tool_call_id": "c1"}
            ),
        },
    ),
    "langsmith": One(
        "refund",
        {
            "langsmith.span.kind": "tool",
            "langsmith.trace.name": "refund",
            "gen_ai.prompt": TEXT,
            "gen_ai.completion": '{"ok": true}',
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "vercel ai": One(
        "ai.toolCall",
        {
            "ai.operationId": "ai.toolCall",
            "operation.name": "ai.toolCall shop",
            "ai.toolCall.name": "refund",
            "ai.toolCall.id": "c1",
            "ai.toolCall.args": TEXT,
            "ai.toolCall.result": '{"ok": true}',
        },
    ),
    "mlflow": One(
        "refund",
        {
            "mlflow.spanType": '"TOOL"',
            "mlflow.spanInputs": TEXT,
            "mlflow.spanOutputs": '{"ok": true}',
            "mlflow.spanFunctionName": '"refund"',
            "call_id": "c1",
        },
    ),
    "livekit": One(
        "function_tool",
        {
            "lk.function_tool.id": "c1",
            "lk.function_tool.name": "refund",
            "lk.function_tool.arguments": TEXT,
            "lk.function_tool.output": '{"ok": true}',
            "lk.function_tool.is_error": False,
        },
    ),
    "genkit": One(
        "refund",
        {
            "genkit:type": "action",
            "genkit:name": "refund",
            "genkit:metadata:subtype": "tool.v2",
            "genkit:input": TEXT,
            "genkit:output": '{"ok": true}',
            "genkit:state": "success",
            "genkit:metadata:tool_call_id": "c1",
        },
    ),
    "spring ai": One(
        "tool_call refund",
        {
            "gen_ai.operation.name": "framework",
            "gen_ai.system": "spring_ai",
            "spring.ai.kind": "tool_call",
            "spring.ai.tool.definition.name": "refund",
            "spring.ai.tool.call.id": "c1",
            "spring.ai.tool.call.arguments": TEXT,
            "spring.ai.tool.call.result": '{"ok": true}',
        },
    ),
    "mastra": One(
        "tool_call refund",
        {
            "mastra.span.type": "tool_call",
            "gen_ai.tool.name": "refund",
            "mastra.tool_call.input": TEXT,
            "mastra.tool_call.output": '{"ok": true}',
            "gen_ai.tool.call.id": "c1",
        },
    ),
    "logfire openai agents": One(
        "Function: {name}",
        {
            "logfire.msg_template": "Function: {name}",
            "name": "refund",
            "input": TEXT,
            "output": '{"ok": true}',
            "call_id": "c1",
        },
    ),
    "hand-written": One(
        "agent.tool.refund",
        {
            "agent.tool.name": "refund",
            "agent.tool.call_id": "c1",
            "agent.tool.arguments": TEXT,
            "agent.tool.result": '{"ok": true}',
        },
    ),
    "hand-written, camel case": One(
        "step",
        {"toolName": "refund", "toolCallId": "c1", "toolInput": TEXT, "toolOutput": '{"ok": true}'},
    ),
    "an unknown kind attribute": One(
        "refund",
        {
            "acme.span.type": "tool",
            "acme.tool_name": "refund",
            "acme.input": TEXT,
            "acme.output": '{"ok": true}',
            "acme.tool_call_id": "c1",
        },
    ),
    "arguments in attributes of their own": One(
        "tools/call refund",
        {
            "mcp.method.name": "tools/call",
            "mcp.tool.name": "refund",
            "mcp.request.argument.order_id": "ORD-7",
            "mcp.request.argument.amount": 12.5,
            "mcp.tool_call_id": "c1",
        },
    ),
    "an operation nobody listed": One(
        "step",
        {
            "gen_ai.operation.name": "call_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": TEXT,
        },
    ),
    "llamaindex": One(
        "FunctionTool.acall",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "refund",
            "tool.id": "c1",
            "input.value": json.dumps({"kwargs": ARGUMENTS}),
            "output.value": json.dumps(
                {"blocks": [{"text": '{"ok": true}'}], "tool_name": "refund", "is_error": False}
            ),
        },
    ),
    "a step that names its tool": One(
        "Workflow.task",
        {
            "traceloop.span.kind": "task",
            "traceloop.entity.name": "Workflow.task",
            "tool.name": "refund",
            "tool.arguments": TEXT,
            "tool_call.id": "c1",
            "traceloop.entity.output": '{"tool_name": "refund", "tool_output": {"ok": true}}',
        },
    ),
    "mcp with its arguments": One(
        "tools/call refund",
        {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.arguments": TEXT,
            "gen_ai.tool.call.id": "c1",
        },
    ),
}


@pytest.mark.parametrize("accent", TOOL_SPANS)
def test_a_tool_span_is_a_call(accent: str) -> None:
    (call,) = calls_of(spans_of([One("root"), replace(TOOL_SPANS[accent], under=0)]))
    assert (call.tool, call.arguments, call.arguments_state) == ("refund", ARGUMENTS, "object")
    assert call.call_id == "c1"
    assert call.outcome == "ok"
    assert call.result in ({"ok": True}, None)


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


ANSWERS: dict[str, Value] = {
    "semconv": [
        {
            "role": "tool",
            "parts": [
                {
                    "type": "tool_call_response",
                    "id": "c1",
                    "response": "Tool call rejected by user.",
                }
            ],
        }
    ],
    "pydantic-ai": [
        {
            "role": "user",
            "parts": [
                {
                    "type": "tool_call_response",
                    "id": "c1",
                    "name": "refund",
                    "result": "The tool call was denied.",
                }
            ],
        }
    ],
    "openai": [
        {"role": "tool", "tool_call_id": "c1", "content": "Tool execution was not approved."}
    ],
    "responses": [
        {"type": "function_call_output", "call_id": "c1", "output": "The user denied this call."}
    ],
    "anthropic": [
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "is_error": True,
                    "content": "The user rejected this tool use.",
                }
            ],
        }
    ],
    "bedrock": [
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "c1",
                        "status": "error",
                        "content": [{"text": "Blocked by policy."}],
                    }
                }
            ],
        }
    ],
    "google": {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c1",
                            "name": "refund",
                            "response": {"error": "The call was denied by a hook."},
                        }
                    }
                ],
            }
        ]
    },
    "vercel": [
        {
            "role": "tool",
            "content": [
                {
                    "type": "tool-result",
                    "toolCallId": "c1",
                    "toolName": "refund",
                    "output": {"type": "execution-denied", "reason": "no"},
                }
            ],
        }
    ],
    "genkit": {
        "messages": [
            {
                "role": "tool",
                "content": [
                    {
                        "toolResponse": {
                            "ref": "c1",
                            "name": "refund",
                            "output": "Request denied: needs approval.",
                        }
                    }
                ],
            }
        ]
    },
    "livekit": {
        "items": [
            {"type": "function_call", "call_id": "c1", "name": "refund", "arguments": TEXT},
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": "The call was blocked by policy.",
                "is_error": True,
            },
        ]
    },
    "langchain": [
        {
            "type": "tool",
            "data": {
                "content": "User rejected the tool call for `refund`",
                "tool_call_id": "c1",
                "name": "refund",
            },
        }
    ],
    "agent framework": [
        {
            "role": "user",
            "parts": [
                {
                    "type": "function_approval_response",
                    "approved": False,
                    "id": "a1",
                    "function_call": {
                        "type": "function_call",
                        "call_id": "c1",
                        "name": "refund",
                        "arguments": TEXT,
                    },
                }
            ],
        }
    ],
}


@pytest.mark.parametrize("accent", ANSWERS)
def test_a_refusal_is_found_in_the_next_prompt(accent: str) -> None:
    first: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": ask(id="c1", name="refund", arguments=ARGUMENTS),
    }
    second: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(ANSWERS[accent]),
    }
    (call,) = calls_of(
        spans_of([One("root"), One("chat", first, under=0), One("chat", second, under=0)])
    )
    assert call.outcome == "denied"
    assert call.arguments == ARGUMENTS


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Unknown tool name: 'refund'. Available tools: 'get'", "unknown_tool"),
        ("Error: refund is not a valid tool, try one of [get].", "unknown_tool"),
        ("Tool refund not found", "unknown_tool"),
        ("Model tried to call unavailable tool 'refund'", "unknown_tool"),
        ("1 validation error for refund\namount\n  Field required", "invalid_arguments"),
        ("Invalid input for tool refund: JSON parsing failed", "invalid_arguments"),
        ("Error: missing required argument: amount", "invalid_arguments"),
        ("MCP error -32602: Invalid arguments", "invalid_arguments"),
        ("Error executing tool: backend timed out", "error"),
        ("Refunded. No approval was needed; access is not allowed after 5pm.", "ok"),
        ("done", "ok"),
    ],
)
def test_the_answer_tells_what_became_of_a_call_that_only_models_speak_of(
    text: str, outcome: str
) -> None:
    first: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": ask(id="c1", name="refund", arguments=ARGUMENTS),
    }
    answer = [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": text}]}
    ]
    second: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(answer),
    }
    (call,) = calls_of(spans_of([One("chat", first), One("chat", second)]))
    assert call.outcome == outcome


@pytest.mark.parametrize(
    ("text", "exception", "outcome"),
    [
        ("boom", "RuntimeError", "error"),
        ("refunds above 100 need a person", "app.PermissionDenied", "denied"),
        ("[Errno 13] Permission denied: '/etc/shadow'", "PermissionError", "error"),
        (
            "refund() missing 1 required positional argument: 'amount'",
            "TypeError",
            "invalid_arguments",
        ),
        ("'refund'", "KeyError", "unknown_tool"),
        ("expected string, received number", "ZodError", "invalid_arguments"),
    ],
)
def test_a_failed_span_tells_how_it_failed(text: str, exception: str, outcome: str) -> None:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "refund",
        "gen_ai.tool.call.arguments": TEXT,
    }
    happened = Event("exception", 0, {"exception.type": exception, "exception.message": text})
    (call,) = calls_of(
        spans_of(
            [One("execute_tool refund", attributes, events=(happened,), status_code=STATUS_ERROR)]
        )
    )
    assert call.outcome == outcome


def test_a_failure_without_a_word_is_told_by_the_schema() -> None:
    attributes: dict[str, Value] = {
        "openinference.span.kind": "TOOL",
        "tool.name": "refund",
        "tool.parameters": '{"type": "object", "properties": {}, "required": ["amount", "reason"]}',
        "input.value": TEXT,
    }
    (call,) = calls_of(spans_of([One("refund", attributes, status_code=STATUS_ERROR)]))
    assert call.outcome == "invalid_arguments"


def test_a_span_named_for_its_tool_is_enough() -> None:
    assert [c.tool for c in calls_of(spans_of([One("execute_tool refund")]))] == ["refund"]
    assert [c.tool for c in calls_of(spans_of([One("langchain4j.tools.refund")]))] == ["refund"]


def test_an_agent_named_only_in_the_steps_around() -> None:
    def step(name: str) -> One:
        said = f"AgentSetup(input=[], current_agent_name='{name}')"
        return One("setup", {"openinference.span.kind": "CHAIN", "output.value": said}, under=0)

    tool: dict[str, Value] = {"openinference.span.kind": "TOOL", "tool.name": "x"}
    case = [
        One("root"),
        step("desk"),
        One("x", tool, under=0),
        step("back"),
        One("x", tool, under=0),
    ]
    assert [call.agent for call in calls_of(spans_of(case))] == ["desk", "back"]


def test_where_each_model_call_is_a_trace_a_session_joins_them() -> None:
    session: dict[str, Value] = {"session.id": "s"}
    chat: dict[str, Value] = {
        **session,
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "output.value": json.dumps(
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "function": {"name": "refund", "arguments": TEXT}},
                    {"id": "c2", "function": {"name": "look", "arguments": "{}"}},
                ],
            }
        ),
    }
    tool: dict[str, Value] = {**session, "openinference.span.kind": "TOOL", "tool.name": "refund"}
    told = json.dumps(
        {"messages": [{"role": "tool", "tool_call_id": "c2", "content": "Error: no"}]}
    )
    second: dict[str, Value] = {
        **session,
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "input.value": told,
    }
    spans = [
        replace(spans_of([one], trace)[0], start_ns=trace * 10**9, end_ns=trace * 10**9 + 1)
        for trace, one in enumerate([One("llm", chat), One("refund", tool), One("llm", second)], 1)
    ]
    calls = calls_of(spans)
    assert [(c.tool, c.call_id, c.arguments, c.model) for c in calls] == [
        ("look", "c2", {}, "m"),
        ("refund", "c1", ARGUMENTS, "m"),
    ]


def test_a_span_without_a_result_whose_siblings_have_one_was_refused() -> None:
    def tool(call_id: str, **more: Value) -> dict[str, Value]:
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.call.arguments": TEXT,
            **more,
        }

    told = [{"role": "tool", "tool_call_id": "c2", "content": "Ask the finance desk first."}]
    case = [
        One("root"),
        One("execute_tool refund", tool("c1", **{"gen_ai.tool.call.result": "done"}), under=0),
        One("execute_tool refund", tool("c2"), under=0),
        One(
            "chat",
            {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(told)},
            under=0,
        ),
    ]
    assert [call.outcome for call in calls_of(spans_of(case))] == ["ok", "denied"]


def test_a_provider_run_tool_is_a_call() -> None:
    parts: list[Value] = [
        {
            "type": "server_tool_call",
            "id": "s1",
            "name": "web_search",
            "server_tool_call": {"type": "web_search", "query": "x"},
        },
        {
            "type": "server_tool_call_response",
            "id": "s1",
            "server_tool_call_response": {"type": "web_search", "results": []},
        },
    ]
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": parts}]),
    }
    (call,) = calls_of(spans_of([One("chat", attributes)]))
    assert (call.tool, call.call_id, call.outcome) == ("web_search", "s1", "ok")


def test_message_events_of_the_old_convention_as_span_events() -> None:
    choice: dict[str, Value] = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": json.dumps(
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "refund", "arguments": TEXT},
                    }
                ],
            }
        ),
    }
    chats = [
        One(
            "chat m",
            {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
            events=(
                event("gen_ai.user.message", content="Refund it."),
                Event("gen_ai.choice", 0, choice),
            ),
        ),
        One(
            "chat m",
            {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
            events=(
                event(
                    "gen_ai.tool.message", id="c1", content="Tool refund was rejected by the user"
                ),
            ),
        ),
    ]
    (call,) = calls_of(spans_of(chats))
    assert (call.tool, call.arguments, call.outcome) == ("refund", ARGUMENTS, "denied")


def test_message_events_with_their_content_as_json() -> None:
    body = {
        "message": {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": TEXT}}
            ],
        }
    }
    chat = One(
        "chat m",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
        events=(Event("gen_ai.choice", 0, {"gen_ai.event.content": json.dumps(body)}),),
    )
    (call,) = calls_of(spans_of([chat]))
    assert (call.tool, call.call_id) == ("refund", "c1")


def log(name: str, span: Span, body: Value, number: int = 0, **attributes: Value) -> LogEvent:
    return LogEvent(
        name,
        span.trace_id,
        span.span_id,
        span.end_ns,
        "test",
        span.resource,
        attributes,
        body,
        f"{number:032x}",
        "replay",
        span.received_ns,
    )


@pytest.mark.parametrize("order", ["span first", "log first"])
def test_message_events_as_logs_in_any_order(order: str) -> None:
    spans = spans_of(
        [One("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})]
    )
    tool_calls: list[Value] = [
        {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": TEXT}}
    ]
    logs = [
        log(
            "gen_ai.choice",
            spans[0],
            {"index": 0, "message": {"role": "assistant", "tool_calls": tool_calls}},
        )
    ]
    sessions = Sessions()
    batches: list[tuple[list[Span], list[LogEvent]]] = [(spans, []), ([], logs)]
    for one, other in batches if order == "span first" else batches[::-1]:
        sessions.add(one, other)
        sessions.assemble(0)
    (trajectory,) = sessions.assemble(2**62, everything_due=True).due
    (call,) = trajectory.calls
    assert (call.tool, call.model, call.span_id) == ("refund", "m", spans[0].span_id)


def test_mcp_client_and_server_are_one_call() -> None:
    def mcp(kind: str) -> dict[str, Value]:
        return {"mcp.method.name": "tools/call", "gen_ai.tool.name": "refund", "x": kind}

    inner: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "refund",
    }
    calls = calls_of(
        spans_of(
            [
                One(
                    "execute_tool refund",
                    {**inner, "gen_ai.tool.call.id": "c1", "gen_ai.tool.call.arguments": TEXT},
                ),
                One("tools/call refund", {**mcp("client"), **inner}, under=0),
                One("MCP send tools/call refund", {"mcp.method.name": "tools/call"}, under=1),
                One("POST", {"http.request.method": "POST"}, under=2),
                One("tools/call refund", mcp("server"), under=3, scope="other"),
            ]
        )
    )
    assert [(call.tool, call.call_id) for call in calls] == [("refund", "c1")]


def test_one_tool_that_calls_itself_for_sub_agents_is_many_calls() -> None:
    def delegate(call_id: str, to: str) -> dict[str, Value]:
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "Task",
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.call.arguments": json.dumps({"subagent_type": to, "prompt": "go"}),
        }

    calls = calls_of(
        spans_of(
            [
                One(
                    "invoke_agent boss",
                    {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "boss"},
                ),
                One("tool", delegate("a", "research"), under=0),
                One("tool", delegate("b", "library"), under=1),
                One(
                    "tool",
                    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "read"},
                    under=2,
                ),
            ]
        )
    )
    assert [(c.tool, c.agent, c.parent_agent) for c in calls] == [
        ("Task", "boss", ""),
        ("Task", "research", "boss"),
        ("read", "library", "research"),
    ]


def test_two_instrumentations_of_one_call_are_one_call() -> None:
    first: dict[str, Value] = {
        "openinference.span.kind": "TOOL",
        "tool.name": "refund",
        "input.value": TEXT,
    }
    spans = spans_of([One("root"), One("refund", first, under=0, scope="one")])
    twin = Spans(1).span(
        "refund.tool",
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "refund",
            "gen_ai.tool.call.id": "c1",
        },
        parent=spans[0].span_id,
        span_id="f" * 16,
        start_ns=spans[1].start_ns + 10,
        end_ns=spans[1].end_ns - 10,
        scope="two",
    )
    (call,) = calls_of([*spans, twin])
    assert (call.call_id, call.arguments) == ("c1", ARGUMENTS)


def test_a_bare_string_takes_its_parameter_name_from_the_ask() -> None:
    chat: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": ask(name="lookup", arguments={"sku": "S-1"}),
    }
    tool: dict[str, Value] = {
        "openinference.span.kind": "TOOL",
        "tool.name": "lookup",
        "input.value": "S-1",
    }
    (call,) = calls_of(spans_of([One("chat", chat), One("lookup", tool)]))
    assert (call.arguments, call.arguments_state) == ({"sku": "S-1"}, "object")


def test_a_loop_of_equal_calls_is_as_many_calls() -> None:
    chat: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": ask(name="poll", arguments={"job": 1}),
    }
    tool: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "poll",
        "gen_ai.tool.call.arguments": '{"job": 1}',
    }
    case = [One("root")]
    for _ in range(5):
        case += [One("chat", chat, under=0), One("execute_tool poll", tool, under=0)]
    assert len(calls_of(spans_of(case))) == 5


@pytest.mark.parametrize(
    ("written", "value", "state"),
    [
        ('{"path": "/srv/app/da', '{"path": "/srv/app/da', "truncated"),
        ('{"a": nope}', '{"a": nope}', "invalid"),
        ("__REDACTED__", "__REDACTED__", "redacted"),
        ("[REDACTED]", "[REDACTED]", "redacted"),
        ("", None, "absent"),
        ("{}", {}, "object"),
        ("null", {}, "object"),
        ("ls -la", "ls -la", "text"),
        ("{'a': 1, 'b': None}", {"a": 1, "b": None}, "object"),
        ('"{\\"a\\": 1}"', {"a": 1}, "object"),
        ('{"a": NaN}', {"a": None}, "object"),
        ('{"a": "\\ud800"}', {"a": "?"}, "object"),
        (None, None, "absent"),
    ],
)
def test_arguments_as_they_come(written: Value, value: Value, state: str) -> None:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "run",
        "gen_ai.tool.call.arguments": written,
    }
    (call,) = calls_of(spans_of([One("execute_tool run", attributes)]))
    assert (call.arguments, call.arguments_state) == (value, state)


def test_a_tool_whose_parameters_look_like_an_envelope_keeps_them() -> None:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "create",
        "gen_ai.tool.call.arguments": '{"name": "x", "input": {"a": 1}}',
    }
    (call,) = calls_of(spans_of([One("execute_tool create", attributes)]))
    assert call.arguments == {"name": "x", "input": {"a": 1}}


@pytest.mark.parametrize(
    "attributes",
    [
        {"http.request.method": "GET", "url.path": "/tools", "thread.id": 7},
        {"db.system": "postgresql", "db.operation.name": "SELECT", "db.query.text": "SELECT 1"},
        {"rpc.method": "Call", "rpc.service": "tools", "messaging.operation.type": "process"},
        {"faas.trigger": "http", "code.function.name": "handler", "session.id": "browser-1"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e"},
        {"openinference.span.kind": "RETRIEVER", "input.value": "q"},
        {"mcp.method.name": "tools/list"},
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
    ],
)
def test_what_is_no_agent_gives_no_trajectory(attributes: dict[str, Value]) -> None:
    sessions = Sessions()
    sessions.add(spans_of([One("work", attributes)]), ())
    assert sessions.assemble(0, everything_due=True).due == ()


def test_names_of_agents_that_instrumentations_make_up_are_not_taken() -> None:
    calls = calls_of(
        spans_of(
            [
                One("workflow", {"gen_ai.operation.name": "invoke_agent"}),
                One(
                    "invoke_agent desk",
                    {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "desk"},
                    under=0,
                ),
                One(
                    "execute_tool refund",
                    {
                        "gen_ai.operation.name": "execute_tool",
                        "gen_ai.tool.name": "refund",
                        "gen_ai.agent.name": "Acme SDK Agent",
                    },
                    under=1,
                ),
            ]
        )
    )
    assert [(call.agent, call.parent_agent) for call in calls] == [("desk", "")]


def test_an_unnamed_agent_is_called_by_its_service() -> None:
    (call,) = calls_of(
        spans_of(
            [
                One(
                    "execute_tool x",
                    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "x"},
                )
            ]
        )
    )
    assert (call.agent, call.service) == ("svc", "svc")


def test_what_was_offered_and_asked_for_stands_beside_the_call() -> None:
    tools = [
        {"type": "function", "function": {"name": "refund", "description": "Pay back."}},
        {"toolSpec": {"name": "look", "description": "Look up."}},
    ]
    messages = [{"role": "user", "parts": [{"type": "text", "content": "Refund ORD-7."}]}]
    chat: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.tool.definitions": json.dumps(tools),
        "gen_ai.input.messages": json.dumps(messages),
        "gen_ai.output.messages": ask(id="c1", name="refund", arguments=ARGUMENTS),
    }
    sessions = Sessions()
    sessions.add(spans_of([One("chat", chat)]), ())
    (trajectory,) = sessions.assemble(2**62, everything_due=True).due
    assert trajectory.request == "Refund ORD-7."
    (call,) = trajectory.calls
    assert (call.tools_offered, call.tool_description) == (("look", "refund"), "Pay back.")


KEYS = [
    *(name for dialect in DIALECTS for name in dialect.kinds),
    *(name for dialect in DIALECTS for names in dialect.fields.values() for name in names),
    *(f"{prefix}.0.message.role" for dialect in DIALECTS for prefix in dialect.flat),
    *(f"{prefix}.1.tool_calls.0.name" for dialect in DIALECTS for prefix in dialect.flat),
    "acme.tool.name",
    "acme.tool.arguments.path",
    "toolCallId",
    "events",
    "error.type",
]
WORDS = st.sampled_from(
    ["tool", "TOOL", "execute_tool", "chat", "invoke_agent", "llm", "x", "", "ai.toolCall", "null"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            WORDS
            | st.sampled_from(["role", "type", "content", "parts", "tool_calls", "id", "name"])
            | st.sampled_from(
                ["arguments", "function", "output", "kwargs", "data", "input", "args"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
VALUES = (
    WORDS
    | JSON
    | JSON.map(json.dumps)
    | JSON.map(lambda value: json.dumps(json.dumps(value)))
    | JSON.map(repr)
    | st.binary(max_size=20)
    | st.sampled_from(
        ["[" * 500, '{"a":' * 400 + "1" + "}" * 400, "ToolCall(", "ToolCall(name='x'"]
    )
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["execute_tool x", "chat", "handoff to x", "MCP send tools/call x", "→"]
            ),
            st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8),
            st.sampled_from(["gen_ai.choice", "gen_ai.tool.message", "exception", "tool.output"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_nothing_that_attributes_hold_breaks_the_joiner(
    written: list[tuple[str, dict[str, Value], str]],
) -> None:
    spans = spans_of(
        [
            One(name, attributes, under=place - 1, events=(Event(happened, 0, attributes),))
            for place, (name, attributes, happened) in enumerate(written)
        ]
    )
    logs = [log("gen_ai.choice", spans[0], next(iter(spans[0].attributes.values()), None))]
    sessions = Sessions()
    sessions.add(spans, logs)
    first = sessions.assemble(0).changed
    again = Sessions.from_bytes(sessions.to_bytes())
    again.add(spans, logs)
    assert again.assemble(0).changed in ((), first)
