"""Laws of the joiner: any order, repetition, eviction or restart gives the same trajectories."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.otlp import decode
from collector.sessions import Sessions
from contracts.ports import Joined
from contracts.record import Record
from contracts.span import STATUS_ERROR, LogEvent, Span, Value
from contracts.testing import Spans
from contracts.trajectory import Trajectory

S = 1_000_000_000

Item = Span | LogEvent


def agent(name: str, **more: Value) -> dict[str, Value]:
    return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, **more}


def chat(
    asks: Sequence[tuple[str, str, Value]] = (), told: Value = None, **more: Value
) -> dict[str, Value]:
    made: dict[str, Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **more}
    if asks:
        parts = [{"type": "tool_call", "id": i, "name": n, "arguments": a} for i, n, a in asks]
        made["gen_ai.output.messages"] = json.dumps([{"role": "assistant", "parts": parts}])
    if told is not None:
        made["gen_ai.input.messages"] = json.dumps(told)
    return made


def tool(name: str, call_id: str = "", given: Value = None, **more: Value) -> dict[str, Value]:
    made: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        **more,
    }
    if call_id:
        made["gen_ai.tool.call.id"] = call_id
    if given is not None:
        made["gen_ai.tool.call.arguments"] = json.dumps(given)
    return made


def answer(call_id: str, text: str) -> Value:
    return [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": call_id, "response": text}]}
    ]


def interrupted_conversation() -> list[Item]:
    """Two traces of one conversation: asked in the first, refused and gone on in the second; a
    sub-agent with a conversation of its own; a model call told of by a log only; a plain root.
    """
    one, two = Spans(1), Spans(2, start_ns=1_767_225_700_000_000_000)
    web = one.span("POST /chat", {"http.request.method": "POST"})
    boss = one.span(
        "invoke_agent boss", agent("boss", **{"gen_ai.conversation.id": "conv"}), web.span_id
    )
    first = one.span("chat", chat([("c1", "look", {"id": 1})]), boss.span_id)
    look = one.span("execute_tool look", tool("look", "c1", {"id": 1}), boss.span_id)
    plain = one.span("GET", {"http.request.method": "GET"}, look.span_id)
    helper = one.span(
        "invoke_agent helper", agent("helper", **{"gen_ai.conversation.id": "inner"}), plain.span_id
    )
    read = one.span(
        "execute_tool read",
        tool("read", "c2", {"path": "/a"}),
        helper.span_id,
        status_code=STATUS_ERROR,
    )
    asked = one.span("chat", chat([("c3", "wipe", {"all": True})]), boss.span_id)
    told = LogEvent(
        "gen_ai.choice",
        one.trace_id,
        first.span_id,
        first.end_ns,
        "test",
        first.resource,
        {},
        {
            "message": {
                "role": "assistant",
                "tool_calls": [{"id": "c4", "function": {"name": "ping", "arguments": "{}"}}],
            }
        },
        "f" * 32,
        "replay",
        first.received_ns,
    )
    again = two.span("invoke_agent boss", agent("boss", **{"gen_ai.conversation.id": "conv"}))
    refused = two.span(
        "chat",
        chat([("c5", "mail", {"to": "a"})], answer("c3", "Rejected by the user")),
        again.span_id,
    )
    mail = two.span("execute_tool mail", tool("mail", "c5", {"to": "a"}), again.span_id)
    return [web, boss, first, look, plain, helper, read, asked, told, again, refused, mail]


class Store:
    """What the store would keep: every span and log, and the rows of the trajectories."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.rows: dict[str, Trajectory] = {}

    def restore(self, sessions: Sessions, traces: frozenset[str]) -> None:
        spans = [one for one in self.items if isinstance(one, Span) and one.trace_id in traces]
        logs = [one for one in self.items if isinstance(one, LogEvent) and one.trace_id in traces]
        judged = {
            key: row.judged_calls for key, row in self.rows.items() if traces & set(row.trace_ids)
        }
        if spans or logs:
            sessions.restore(spans, logs, judged)

    def apply(self, joined: Joined) -> None:
        for key in joined.removed:
            self.rows.pop(key, None)
        for row in joined.changed:
            self.rows[row.trajectory_id] = row


def feed(sessions: Sessions, store: Store, batch: Sequence[Item]) -> None:
    """One batch as the pipeline feeds it, all but the judging."""
    spans = [one for one in batch if isinstance(one, Span)]
    logs = [one for one in batch if isinstance(one, LogEvent)]
    store.restore(sessions, sessions.missing_traces(spans, logs))
    added = sessions.add(spans, logs)
    store.items += [*added.spans, *added.logs, *added.conflicts]
    while missing := sessions.missing_trajectories():
        store.restore(
            sessions,
            frozenset(t for key in missing if key in store.rows for t in store.rows[key].trace_ids),
        )


def content(rows: Mapping[str, Trajectory]) -> dict[str, Trajectory]:
    """Rows without how far they got."""
    return {key: replace(row, state="complete", judged_calls=0) for key, row in rows.items()}


def run(
    items: Sequence[Item],
    rng: random.Random,
    *,
    evict: bool,
    restart: bool,
    sizes: tuple[int, ...] = (1, 2, 5, 100),
) -> dict[str, Trajectory]:
    sessions, store = Sessions(environment="test", idle_timeout_s=1), Store()
    at = 0
    while at < len(items):
        batch = list(items[at : at + rng.choice(sizes)])
        at += len(batch)
        batch += rng.sample(items[:at], rng.randint(0, min(3, at)))
        feed(sessions, store, batch)
        store.apply(sessions.assemble(2**62, everything_due=rng.random() < 0.5))
        if evict:
            sessions.evict()
        if restart:
            sessions = Sessions.from_bytes(sessions.to_bytes())
    store.apply(sessions.assemble(2**62, everything_due=True))
    return content(store.rows)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    order=st.permutations(range(12)),
    seed=st.integers(0, 2**32),
    evict=st.booleans(),
    restart=st.booleans(),
)
def test_order_repetition_eviction_and_restart_change_nothing(
    order: Sequence[int], seed: int, evict: bool, restart: bool
) -> None:
    items = interrupted_conversation()
    expected = run(items, random.Random(0), evict=False, restart=False)
    shuffled = [items[place] for place in order]
    assert run(shuffled, random.Random(seed), evict=evict, restart=restart) == expected


def test_the_conversation_of_two_traces_is_one_trajectory() -> None:
    (row,) = run(interrupted_conversation(), random.Random(0), evict=False, restart=False).values()
    assert row.grouped_by == "conversation"
    assert (row.agent, row.model, row.conversation_id) == ("boss", "m", "conv")
    assert [(c.step, c.tool, c.outcome, c.agent, c.parent_agent) for c in row.calls] == [
        (0, "look", "ok", "boss", ""),
        (1, "ping", "unknown", "boss", ""),
        (2, "read", "error", "helper", "boss"),
        (3, "wipe", "denied", "boss", ""),
        (4, "mail", "ok", "boss", ""),
    ]
    assert all(call.conversation_id == "conv" for call in row.calls)


def payloads(folder: Path) -> list[Item]:
    items: list[Item] = []
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["scenario"] not in ("subagent", "denied"):
                continue
            for payload in row["payloads"]:
                path = folder / payload["verbatim"]
                record = Record(path.read_bytes(), payload["signal"], "auto", "replay", 1)
                (decoded,) = decode([record])
                items += [*decoded.spans, *decoded.logs]
    return items


@pytest.mark.shared
def test_captured_payloads_in_any_order_give_the_same_rows(shared: Path) -> None:
    items = payloads(shared / "spans")
    expected = run(items, random.Random(0), evict=False, restart=False)
    for seed, (evict, restart) in enumerate([(False, False), (True, False), (False, True)]):
        rng = random.Random(seed)
        shuffled = rng.sample(items, len(items))
        found = run(shuffled, rng, evict=evict, restart=restart, sizes=(7, 50, 300))
        assert found == expected


def test_a_trace_that_learns_its_conversation_moves() -> None:
    spans, sessions, store = Spans(), Sessions(), Store()
    call = spans.span("execute_tool x", tool("x"), "00000000000000aa")
    feed(sessions, store, [call])
    store.apply(sessions.assemble(0))
    assert list(store.rows) == ["t-" + call.trace_id]
    root = spans.span(
        "invoke_agent a", agent("a", **{"gen_ai.conversation.id": "c"}), span_id="00000000000000aa"
    )
    feed(sessions, store, [root])
    joined = sessions.assemble(0)
    assert joined.removed == ("t-" + call.trace_id,)
    store.apply(joined)
    (row,) = store.rows.values()
    assert row.trajectory_id.startswith("c-")
    assert [c.agent for c in row.calls] == ["a"]


def test_due_when_quiescent_and_again_when_something_comes_late() -> None:
    spans = Spans()
    sessions = Sessions(idle_timeout_s=300)
    call = spans.span("execute_tool x", tool("x"))
    sessions.add([call], ())
    at = call.received_ns
    assert sessions.assemble(at + 299 * S).due == ()
    (due,) = sessions.assemble(at + 300 * S).due
    assert (due.state, due.judged_calls, len(due.calls)) == ("complete", 0, 1)
    assert sessions.assemble(at + 900 * S) == Joined((), (), ())
    late = spans.span("execute_tool y", tool("y"))
    sessions.add([late], ())
    (changed,) = sessions.assemble(late.received_ns).changed
    assert (changed.state, changed.judged_calls, len(changed.calls)) == ("reopened", 1, 2)
    (due,) = sessions.assemble(late.received_ns + 300 * S).due
    assert (due.state, due.judged_calls, len(due.calls)) == ("complete", 1, 2)


def test_changed_holds_due_rows_as_they_must_be_stored() -> None:
    sessions = Sessions()
    sessions.add([Spans().span("execute_tool x", tool("x"))], ())
    joined = sessions.assemble(0, everything_due=True)
    assert [(one.state, one.judged_calls) for one in joined.changed] == [("complete", 1)]
    assert [(one.state, one.judged_calls) for one in joined.due] == [("complete", 0)]


def test_a_trajectory_without_end_is_due_by_age_and_by_number_of_calls() -> None:
    spans, many = Spans(), Sessions(idle_timeout_s=300, max_calls=3, max_age_s=10_000)
    many.add([spans.span("execute_tool x", tool("x")) for _ in range(3)], ())
    (due,) = many.assemble(0).due
    assert len(due.calls) == 3
    old = Sessions(idle_timeout_s=300, max_age_s=600)
    at = spans.span("execute_tool x", tool("x")).received_ns
    due_at: list[int] = []
    for minute in range(15):
        span = spans.span("execute_tool x", tool("x"), received_ns=at + minute * 60 * S)
        old.add([span], ())
        if old.assemble(at + minute * 60 * S).due:
            due_at.append(minute)
    assert due_at == [10]


def test_due_in_order_of_end_then_id() -> None:
    sessions = Sessions()
    ends = {3: 30, 1: 20, 2: 20}
    for trace, end in ends.items():
        span = Spans(trace).span("execute_tool x", tool("x"), start_ns=10, end_ns=end)
        sessions.add([span], ())
    due = sessions.assemble(0, everything_due=True).due
    assert [int(one.trace_ids[0], 16) for one in due] == [1, 2, 3]


def test_judged_calls_survive_eviction() -> None:
    sessions, store, spans = Sessions(), Store(), Spans()
    feed(sessions, store, [spans.span("execute_tool x", tool("x")) for _ in range(2)])
    store.apply(sessions.assemble(0, everything_due=True))
    assert sessions.evict() == 1
    late = spans.span("execute_tool y", tool("y"))
    assert sessions.missing_traces([late], ()) == {late.trace_id}
    feed(sessions, store, [late])
    (due,) = sessions.assemble(0, everything_due=True).due
    assert (due.judged_calls, len(due.calls)) == (2, 3)


@pytest.mark.parametrize("evict", [False, True])
def test_calls_stay_judged_when_their_traces_find_their_conversation(evict: bool) -> None:
    sessions, store = Sessions(), Store()
    roots: list[Span] = []
    for number in (1, 2):
        spans = Spans(number)
        root = spans.span("invoke_agent a", agent("a", **{"gen_ai.conversation.id": "c"}))
        roots.append(root)
        calls = [spans.span("execute_tool x", tool("x"), root.span_id) for _ in range(2)]
        feed(sessions, store, calls)
        store.apply(sessions.assemble(0, everything_due=True))
        if evict:
            sessions.evict()
    assert {key[:2] for key in store.rows} == {"t-"}
    for root, judged in zip(roots, (2, 4), strict=True):
        feed(sessions, store, [root])
        joined = sessions.assemble(0, everything_due=True)
        assert joined.removed == ("t-" + root.trace_id,)
        (due,) = joined.due
        assert (due.trajectory_id[:2], due.judged_calls, len(due.calls)) == ("c-", judged, judged)
        store.apply(joined)
        if evict:
            sessions.evict()
    more = Spans(3).span("execute_tool z", tool("z", **{"gen_ai.conversation.id": "c"}))
    feed(sessions, store, [more])
    (due,) = sessions.assemble(0, everything_due=True).due
    assert (due.judged_calls, len(due.calls)) == (4, 5)


def test_two_judged_calls_that_turn_out_to_be_one_leave_the_next_to_be_judged() -> None:
    sessions, one, two = Sessions(), Spans(1), Spans(2)
    conversation = {"gen_ai.conversation.id": "c"}
    roots = [spans.span("invoke_agent a", agent("a", **conversation)) for spans in (one, two)]
    ask = one.span("chat", chat([("c1", "look", {"id": 1})]), roots[0].span_id)
    run = two.span("execute_tool look", tool("look", "c1", {"id": 1}), roots[1].span_id)
    sessions.add([ask, run], ())
    assert [len(t.calls) for t in sessions.assemble(0, everything_due=True).due] == [1, 1]
    sessions.add(roots, ())
    (joined,) = sessions.assemble(0, everything_due=True).due
    assert (joined.judged_calls, len(joined.calls)) == (1, 1)
    sessions.add([two.span("execute_tool mail", tool("mail", "c2"), roots[1].span_id)], ())
    (due,) = sessions.assemble(0, everything_due=True).due
    assert (due.judged_calls, len(due.calls)) == (1, 2)


def test_duplicates_are_dropped_and_other_content_under_one_id_is_told() -> None:
    sessions, spans = Sessions(), Spans()
    span = spans.span("execute_tool x", tool("x"))
    forged = replace(span, digest="other", attributes=tool("y"), end_ns=span.end_ns + 1)
    assert sessions.add([span, span], ()).duplicates == 1
    added = sessions.add([forged, span, forged], ())
    assert (added.spans, added.duplicates, added.conflicts) == ((), 2, (forged,))
    turned = Sessions()
    turned.add([forged], ())
    turned.add([span], ())
    assert content({t.trajectory_id: t for t in sessions.assemble(0).changed}) == content(
        {t.trajectory_id: t for t in turned.assemble(0).changed}
    )


def test_memory_is_bounded_and_the_longest_idle_goes_first() -> None:
    sessions = Sessions(max_spans=100)
    for trace in range(200):
        span = Spans(trace + 1).span("execute_tool x", tool("x"), received_ns=trace)
        sessions.add([span], ())
    sessions.assemble(0)
    assert sessions.evict() == 110
    old, new = (Spans(trace).span("x", {}) for trace in (1, 200))
    assert sessions.missing_traces([old, new], ()) == {old.trace_id}


def test_plain_traces_are_dropped_once_idle() -> None:
    sessions = Sessions(idle_timeout_s=1)
    old = Spans(1).span("GET", {"http.request.method": "GET"}, received_ns=0)
    new = Spans(2).span("GET", {"http.request.method": "GET"}, received_ns=10 * S)
    sessions.add([old, new], ())
    assert sessions.assemble(0, everything_due=True) == Joined((), (), ())
    assert sessions.evict() == 1
    assert sessions.missing_traces([old, new], ()) == {old.trace_id}


def test_odd_trees_end() -> None:
    spans = Spans()
    one = spans.span("a", agent("a"), "0000000000000002", span_id="0000000000000001")
    two = spans.span("b", agent("b"), "0000000000000001", span_id="0000000000000002")
    own = spans.span("execute_tool x", tool("x"), "0000000000000003", span_id="0000000000000003")
    deep = [
        spans.span("n", {}, f"{number:016x}", span_id=f"{number + 1:016x}")
        for number in range(100, 20_000)
    ]
    leaf = spans.span("execute_tool y", tool("y"), f"{20_000:016x}")
    sessions = Sessions()
    sessions.add([one, two, own, *deep, leaf], ())
    (row,) = sessions.assemble(0).changed
    assert [call.tool for call in row.calls] == ["x", "y"]


def test_environment_service_and_version() -> None:
    resource: dict[str, Value] = {
        "service.name": "shop",
        "service.version": "7",
        "deployment.environment": "staging",
    }
    sessions = Sessions(environment="fallback")
    sessions.add([Spans(1).span("execute_tool x", tool("x"), resource=resource)], ())
    sessions.add([Spans(2).span("execute_tool x", tool("x"))], ())
    one, two = sessions.assemble(0).changed
    assert (one.environment, one.service, one.agent_version, one.agent) == (
        "staging",
        "shop",
        "7",
        "shop",
    )
    assert two.environment == "fallback"


def test_foreign_bytes_are_refused() -> None:
    for data in (b"{}", b"[1]", b'{"format": 999}'):
        with pytest.raises(ValueError, match="not a joiner's state"):
            Sessions.from_bytes(data)
