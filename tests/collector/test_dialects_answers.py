"""What the model was told and how spans failed say what became of a call."""

import json

import pytest

from contracts.span import STATUS_ERROR, Event, Value
from tests.span_cases import ARGUMENTS, TEXT, One, ask, calls_of, spans_of

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
