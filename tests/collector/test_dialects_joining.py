"""One call that several spans tell of, many calls that look like one, and who made them."""

import json
from dataclasses import replace

from collector.sessions import Sessions
from contracts.span import Value
from contracts.testing import Spans
from tests.span_cases import ARGUMENTS, TEXT, One, ask, calls_of, spans_of


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
