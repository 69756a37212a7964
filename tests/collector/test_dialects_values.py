"""Arguments as they come, attributes of no agent, and anything at all."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.dialects import DIALECTS
from collector.sessions import Sessions
from contracts.span import Event, Value
from tests.span_cases import One, calls_of, log, spans_of


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
