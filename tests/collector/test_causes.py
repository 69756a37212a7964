"""Clocks that disagree, jump or run backwards: causes give the order, contradictions are told."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.causes import causes_first
from collector.sessions import Sessions
from contracts.span import Span, Value
from contracts.testing import Spans
from contracts.trajectory import Call, Trajectory

S = 1_000_000_000
SKEW = 2 * S
AGENT, TOOLS = {"service.name": "agent"}, {"service.name": "tools"}


def agent(name: str) -> dict[str, Value]:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}


def chat(asks: Sequence[tuple[str, str]], told: Sequence[str]) -> dict[str, Value]:
    said: Value = [
        {"type": "tool_call", "id": i, "name": name, "arguments": {"of": i}} for i, name in asks
    ]
    heard: Value = [{"type": "tool_call_response", "id": one, "response": "fine"} for one in told]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": said}]),
        "gen_ai.input.messages": json.dumps([{"role": "tool", "parts": heard}]),
    }


def tool(name: str, call_id: str = "") -> dict[str, Value]:
    made: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    if call_id:
        made["gen_ai.tool.call.id"] = call_id
        made["gen_ai.tool.call.arguments"] = json.dumps({"of": call_id})
    return made


def run_of(rounds: Sequence[int], trace: int = 1) -> list[Span]:
    """An agent that asks for so many calls in each round; another service executes them."""
    spans = Spans(trace)
    root = spans.span("invoke_agent boss", agent("boss"), resource=AGENT, duration_s=0.1)
    made: list[Span] = []
    told: list[str] = []
    for number, count in enumerate(rounds):
        asks = [(f"c{trace}.{number}.{k}", f"tool{k}") for k in range(count)]
        made.append(spans.span("chat", chat(asks, told), root.span_id, AGENT, 0.5))
        for call_id, name in asks:
            made.append(
                spans.span(f"execute_tool {name}", tool(name, call_id), root.span_id, TOOLS, 0.2)
            )
            told.append(call_id)
    return [replace(root, end_ns=made[-1].end_ns), *made]


def trajectories(spans: Iterable[Span]) -> tuple[Trajectory, ...]:
    sessions = Sessions()
    sessions.add(list(spans), ())
    return sessions.assemble(2**62, everything_due=True).due


def calls(spans: Iterable[Span]) -> tuple[Call, ...]:
    found = trajectories(spans)
    assert len(found) == 1
    return found[0].calls


def moved(span: Span, by_ns: int) -> Span:
    return replace(span, start_ns=span.start_ns + by_ns, end_ns=span.end_ns + by_ns)


def what(made: Sequence[Call]) -> list[tuple[object, ...]]:
    """Calls without their times."""
    return [(one.step, one.call_id, one.tool, str(one.arguments), one.outcome) for one in made]


def contradicted(made: Iterable[Call]) -> list[int]:
    return [one.step for one in made if one.duration_ns < 0]


rounds = st.lists(st.integers(1, 3), min_size=2, max_size=5)


@given(rounds, st.integers(-SKEW, SKEW))
@settings(max_examples=60, deadline=None)
def test_hosts_whose_clocks_differ_a_little_give_the_same_calls(of: list[int], skew: int) -> None:
    spans = run_of(of)
    right = calls(spans)
    skewed = calls(moved(one, skew) if one.resource == TOOLS else one for one in spans)
    assert what(skewed) == what(right)
    assert contradicted(skewed) == []
    assert [one.started_ns for one in skewed] == sorted(one.started_ns for one in skewed)


@given(rounds, st.integers(60 * S, 10**9 * S) | st.integers(-(10**9) * S, -60 * S))
@settings(max_examples=60, deadline=None)
def test_hosts_whose_clocks_differ_much_are_told_in_the_right_order(
    of: list[int], skew: int
) -> None:
    spans = run_of(of)
    skewed = calls(moved(one, skew) if one.resource == TOOLS else one for one in spans)
    assert what(skewed) == what(calls(spans))
    assert contradicted(skewed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_clocks_say_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    off = st.sampled_from([0, 0, -S, -3600 * S, 3 * S, 86_400 * S, -2_000_000_000 * S])
    first, second = run_of(data.draw(rounds)), run_of(data.draw(rounds), trace=2)
    spans = [moved(one, data.draw(off)) for one in in_conversation(first + second)]
    shuffled = data.draw(st.permutations(spans))
    cut = data.draw(st.integers(0, len(spans)))
    sessions = Sessions()
    sessions.add(shuffled[:cut], ())
    sessions.assemble(0)
    sessions.add(shuffled[cut:], ())
    (made,) = sessions.assemble(2**62, everything_due=True).due
    assert made.calls == calls(spans)


def later_half_set_back(spans: list[Span], by_ns: int) -> list[Span]:
    middle = sorted(one.start_ns for one in spans)[len(spans) // 2]
    return [
        replace(
            one,
            start_ns=one.start_ns - (by_ns if one.start_ns >= middle else 0),
            end_ns=one.end_ns - (by_ns if one.end_ns >= middle else 0),
        )
        for one in spans
    ]


@pytest.mark.parametrize("by_ns", [3 * S, 3600 * S, 86_400 * S])
def test_a_clock_set_back_within_a_run_is_told(by_ns: int) -> None:
    spans = run_of([1, 1, 1, 1, 1])
    made = calls(later_half_set_back(spans, by_ns))
    assert what(made) == what(calls(spans))
    assert contradicted(made)


def mirrored(span: Span) -> Span:
    start = 2 * 1_767_225_600_000_000_000 + 3600 * S - span.start_ns
    return replace(span, start_ns=start, end_ns=start + span.end_ns - span.start_ns)


def ends_first(span: Span) -> Span:
    return replace(span, end_ns=span.start_ns - 1)


@pytest.mark.parametrize("change", [mirrored, ends_first])
def test_a_clock_that_runs_backwards_is_told_at_every_call(change: Callable[[Span], Span]) -> None:
    made = calls(change(replace(one, resource=AGENT)) for one in run_of([1, 2, 1]))
    assert contradicted(made) == [0, 1, 2, 3]


def test_without_messages_a_run_in_one_process_may_not_precede_its_agent() -> None:
    spans = Spans()
    root = spans.span("invoke_agent boss", agent("boss"), duration_s=0.1)
    looks = [spans.span("x", tool(f"t{k}"), root.span_id, duration_s=0.01) for k in range(3)]
    assert contradicted(calls([root, *looks])) == []
    early = [moved(one, -S // 2) for one in looks]
    assert contradicted(calls([root, *early])) == [0, 1, 2]
    hosted = [replace(one, resource=TOOLS) for one in early]
    assert contradicted(calls([root, *hosted])) == []


def test_calls_without_time_stay_without_time() -> None:
    made = calls(replace(one, start_ns=0, end_ns=0) for one in run_of([1, 1]))
    assert [one.started_ns for one in made] == [0, 0]
    assert [one.step for one in made] == [0, 1]


@pytest.mark.parametrize("year", [1970, 2099])
def test_a_clock_that_is_wrong_everywhere_alike_contradicts_nothing(year: int) -> None:
    spans = run_of([1, 2])
    by_ns = (year - 1970) * 31_557_600 * S + 1 - spans[0].start_ns
    made = calls(moved(one, by_ns) for one in spans)
    assert what(made) == what(calls(spans))
    assert contradicted(made) == []


@pytest.mark.parametrize("at_ns", [5 * S, 4_070_908_800 * S, 2**63 - 1])
def test_one_call_far_off_is_told(at_ns: int) -> None:
    spans = run_of([1, 1, 1])
    spans[4] = replace(spans[4], start_ns=at_ns, end_ns=at_ns)
    made = calls(spans)
    assert what(made) == what(calls(run_of([1, 1, 1])))
    assert contradicted(made)
    assert all(0 <= one.started_ns < 2**63 for one in made)


@pytest.mark.parametrize("skew", [-S, S, 0])
def test_a_server_whose_clock_is_behind_makes_no_second_call(skew: int) -> None:
    spans = Spans()
    root = spans.span("invoke_agent boss", agent("boss"), resource=AGENT, duration_s=5)
    client = spans.span("execute_tool look", tool("look"), root.span_id, AGENT)
    server = spans.span("tools/call look", tool("look"), client.span_id, TOOLS)
    made = calls([root, client, moved(server, skew)])
    assert [one.tool for one in made] == ["look"]
    assert made[0].service == "agent"


def in_conversation(spans: Iterable[Span], by_ns: int = 0) -> list[Span]:
    return [
        moved(replace(s, attributes={**s.attributes, "gen_ai.conversation.id": "c"}), by_ns)
        for s in spans
    ]


def test_a_later_trace_of_a_conversation_follows_the_calls_it_was_told_of() -> None:
    """Even where the clock was set back between the two."""
    one = run_of([1, 1])
    spans = Spans(2, start_ns=one[-1].end_ns + 30 * S)
    root = spans.span("invoke_agent boss", agent("boss"), resource=AGENT, duration_s=0.1)
    told = spans.span("chat", chat([("c2", "last")], ["c1.0.0", "c1.1.0"]), root.span_id, AGENT)
    last = spans.span("execute_tool last", tool("last", "c2"), root.span_id, TOOLS)
    two = [replace(root, end_ns=last.end_ns), told, last]
    right = calls(in_conversation(one) + in_conversation(two))
    assert contradicted(right) == []
    assert [call.tool for call in right] == ["tool0", "tool0", "last"]
    back = calls(in_conversation(one) + in_conversation(two, -3600 * S))
    assert what(back) == what(right)
    assert contradicted(back) == [2]


def test_a_trace_that_goes_on_beside_another_contradicts_nothing() -> None:
    """What it is told of in the end was done after it had begun."""
    spans = Spans(1)
    root = spans.span("invoke_agent boss", agent("boss"), duration_s=0.1)
    look = moved(spans.span("look", tool("look", "c1"), root.span_id), 100 * S)
    other = Spans(2)
    side = other.span("invoke_agent boss", agent("boss"), duration_s=0.1)
    early = other.span("early", tool("early", "c2"), side.span_id)
    told = moved(other.span("chat", chat([("c3", "late")], ["c1"]), side.span_id), 200 * S)
    late = moved(other.span("late", tool("late", "c3"), side.span_id), 200 * S)
    made = calls(in_conversation([root, look, side, early, told, late]))
    assert [one.tool for one in made] == ["early", "look", "late"]
    assert contradicted(made) == []


def test_ids_that_are_used_again_tell_nothing_of_order() -> None:
    """Some SDKs count calls anew in each turn."""
    many: list[Span] = []
    for turn in range(3):
        spans = Spans(turn + 1, start_ns=1_767_225_600_000_000_000 + turn * 3600 * S)
        root = spans.span("invoke_agent boss", agent("boss"), duration_s=9)
        many += [
            root,
            moved(spans.span("chat", chat([("call_0", "look")], []), root.span_id), -9 * S),
            moved(spans.span("look", tool("look", "call_0"), root.span_id), -9 * S),
            moved(spans.span("chat", chat([], ["call_0"]), root.span_id), -9 * S),
        ]
    made = calls(in_conversation(many))
    assert contradicted(made) == []
    assert [one.trace_id[-1] for one in made] == ["1", "2", "3"]


def test_a_session_in_one_model_call_contradicts_nothing() -> None:
    """Realtime models ask, are answered and ask on within one span."""
    spans = Spans()
    asks = [("c1", "look"), ("c2", "mail"), ("c3", "wait")]
    session = spans.span("chat", chat(asks, ["c1", "c2", "c3"]), duration_s=0.1)
    runs = [spans.span(name, tool(name, call_id), session.span_id) for call_id, name in asks]
    made = calls([replace(session, end_ns=runs[-1].end_ns + S), *runs])
    assert [one.tool for one in made] == ["look", "mail", "wait"]
    assert contradicted(made) == []


def test_work_that_goes_on_when_its_agent_has_ended_contradicts_nothing() -> None:
    spans = Spans()
    root = spans.span("invoke_agent boss", agent("boss"), duration_s=0.1)
    late = moved(spans.span("x", tool("late"), root.span_id), 60 * S)
    assert contradicted(calls([root, late])) == []
    assert contradicted(calls([root, moved(late, 86_400 * S)])) == [0]


def test_a_span_whose_end_was_not_given_contradicts_nothing() -> None:
    spans = Spans()
    pending = replace(spans.span("invoke_agent boss", agent("boss")), end_ns=0)
    hours = moved(spans.span("x", tool("late"), pending.span_id), 7200 * S)
    assert contradicted(calls([pending, replace(hours, end_ns=0)])) == []


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9))
def test_causes_go_first_unless_they_go_in_circles(graph: dict[int, list[int]]) -> None:
    ordered = causes_first(graph, lambda node: graph.get(node, []))
    assert len(ordered) == len(set(ordered))
    assert set(ordered) >= set(graph)
    acyclic = {node: [one for one in after if one < node] for node, after in graph.items()}
    shuffled = list(acyclic)
    random.Random(1).shuffle(shuffled)
    place = {n: at for at, n in enumerate(causes_first(shuffled, lambda n: acyclic.get(n, [])))}
    assert all(place[cause] < place[node] for node in acyclic for cause in acyclic[node])
