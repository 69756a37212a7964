import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.redact import Redactor
from collector.redact_shapes import MARKER, digest
from contracts.span import Event, LogEvent, Span, Value
from contracts.testing import Spans

KEY = b"0123456789abcdef0123456789abcdef"


def redacted(attributes: Mapping[str, Value], **changes: object) -> Span:
    span = replace(Spans().span("execute_tool transfer", attributes), **changes)  # type: ignore[arg-type]  # names checked by replace
    return Redactor(KEY, arguments="digest").span(span)


def parts(marker: object) -> tuple[str, str, str]:
    """Type, length and class of a digest marker."""
    match = re.fullmatch(r"\[\[digest:[0-9a-f]{16}:([a-z]+):([0-9]+):([a-z]+)\]\]", str(marker))
    assert match, marker
    return match[1], match[2], match[3]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("rm -rf /x", ("text", "9", "text")),
        ("/etc/passwd", ("text", "11", "path")),
        ("~/.aws/credentials", ("text", "18", "path")),
        ("https://evil.example/x", ("text", "22", "url")),
        ("bob@example.com", ("text", "15", "email")),
        ("0b6ce1f4-6f0e-4c62-9f5f-8a4f1f1f0c11", ("text", "36", "uuid")),
        ("da39a3ee5e6b4b0d", ("text", "16", "hex")),
        ("12345678", ("text", "8", "digits")),
        ("customers", ("text", "9", "word")),
        (1250, ("int", "4", "number")),
        (-12.5, ("float", "5", "number")),
        (b"\x00\x01", ("bytes", "2", "binary")),
    ],
)
def test_shapes(value: str | int | float | bytes, told: tuple[str, str, str]) -> None:
    arguments: dict[str, Value] = {"x": value}
    span = redacted({"gen_ai.tool.call.arguments": arguments})
    content = span.attributes["gen_ai.tool.call.arguments"]
    assert isinstance(content, dict)
    assert parts(content["x"]) == told
    assert "redacted" in span.flags


def test_equal_content_has_equal_digests_in_any_encoding() -> None:
    made = redacted(
        {
            "gen_ai.tool.call.arguments": '{"to": "bob@example.com", "n": [1, 2]}',
            "input.value": {"to": "bob@example.com", "n": [1, 3]},
            "gen_ai.tool.call.result": "bob@example.com",
        }
    ).attributes
    arguments = json.loads(str(made["gen_ai.tool.call.arguments"]))
    value = made["input.value"]
    assert isinstance(value, dict)
    assert arguments["to"] == value["to"] == made["gen_ai.tool.call.result"]
    assert arguments["n"][0] != arguments["n"][1]
    numbers = value["n"]
    assert isinstance(numbers, list)
    assert arguments["n"][0] == numbers[0]
    assert arguments["n"][1] != numbers[1]


def test_what_the_normaliser_needs_is_kept() -> None:
    kept: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "send money",
        "gen_ai.tool.call.id": "call_7f3a",
        "gen_ai.agent.name": "Support Agent",
        "gen_ai.request.model": "acme-student-8b",
        "gen_ai.conversation.id": "conversation of monday",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.tool.description": "Sends money to an account.",
        "gen_ai.tool.definitions": '[{"name": "send money", "description": "Sends it."}]',
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "send money",
        "user.id": "bob@example.com",
        "error.type": "ToolError",
    }
    span = redacted(kept)
    assert span.attributes == kept
    assert span.name == "execute_tool transfer"
    assert span.flags == ()


def test_asks_in_messages_keep_name_and_id_and_lose_their_arguments() -> None:
    messages = [
        {"role": "user", "content": "pay bob"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "pay", "arguments": '{"to": "bob"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "paid bob"},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c2", "name": "pay", "arguments": {"to": "bob"}}],
        },
    ]
    for key in ("gen_ai.input.messages", "input.value", "gen_ai.completion"):
        text = str(redacted({key: json.dumps(messages)}).attributes[key])
        assert "bob" not in text
        made = json.loads(text)
        ask = made[1]["tool_calls"][0]
        assert ask["function"]["name"] == "pay"
        assert parts(json.loads(ask["function"]["arguments"])["to"]) == ("text", "3", "word")
        assert made[2]["tool_call_id"] == "call_1"
        assert (made[3]["parts"][0]["name"], made[3]["parts"][0]["id"]) == ("pay", "c2")
        assert [message["role"] for message in made] == ["user", "assistant", "tool", "assistant"]


def test_unknown_keys_with_prose_or_json_are_content() -> None:
    made = redacted(
        {
            "sdk.tool_payload": "pay bob 100",
            "sdk.blob": '{"note": "pay bob", "deep": {"who is": "bob"}}',
            "sdk.flag": True,
            "sdk.short": "fast",
        }
    ).attributes
    assert "bob" not in str(made)
    assert made["sdk.flag"] is True
    assert made["sdk.short"] == "fast"
    assert "who is" not in str(made["sdk.blob"])


def test_messages_of_errors_events_and_logs_are_content() -> None:
    span = redacted(
        {},
        status_message="bob is unknown",
        events=(
            Event("exception", 1, {"exception.type": "E", "exception.message": "no bob here"}),
            Event("gen_ai.tool.message", 1, {"content": '{"to": "bob"}', "id": "call_1"}),
        ),
    )
    assert "bob" not in repr(span)
    assert span.events[0].attributes["exception.type"] == "E"
    assert span.events[1].attributes["id"] == "call_1"
    log = LogEvent(
        "tool_result", "", "", 1, "", {}, {"tool_input": "ls bob"}, "bob did", "d", "s", 1
    )
    made = Redactor(KEY, arguments="digest").log(log)
    assert "bob" not in repr(made)
    assert made.name == "tool_result"


def test_secrets_go_first_and_stay_told() -> None:
    made = redacted({"sdk.header": "password=hunter2", "input.value": '{"password": "hunter2"}'})
    assert "hunter2" not in repr(made)
    assert "[[digest:" in str(made.attributes["input.value"])


def test_digests_alone_without_looking_for_secrets() -> None:
    redactor = Redactor(KEY, secrets=False, arguments="digest")
    span = Spans().span("execute_tool", {"input.value": "hunter2 x", "sdk.short": "hunter2"})
    made = redactor.span(span)
    assert parts(made.attributes["input.value"])[0] == "text"
    assert made.attributes["sdk.short"] == "hunter2"


@given(st.text() | st.integers() | st.floats(allow_nan=False) | st.binary())
def test_digests_are_markers_and_digesting_again_changes_nothing(
    value: str | int | float | bytes,
) -> None:
    def mac(content: bytes) -> str:
        return f"{hash(content) & (2**64 - 1):016x}"

    once = digest(value, mac)
    assert once == "" if value == "" else MARKER.fullmatch(once)
    assert digest(once, mac) == once
