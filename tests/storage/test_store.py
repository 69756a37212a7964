"""What the pipeline relies on: rewriting, removal, restoring, ordering, conditions, ownership."""

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import BadCondition, ConfigError, DataFolderInUse, StoreUnavailable
from contracts.labels import Action, Labels, Opportunity
from contracts.ports import Changes
from contracts.testing import ManualClock, Spans, call
from contracts.trajectory import Trajectory
from storage.config import QueryLimits, StorageSettings
from storage.store import Store


def trajectory(name: str, tools: tuple[str, ...] = ("rm",), **changes: object) -> Trajectory:
    made = Trajectory(
        trajectory_id=name,
        grouped_by="conversation",
        environment="test",
        service="svc",
        agent="agent",
        agent_version="1",
        model="model",
        conversation_id=name,
        user_id="",
        started_ns=1,
        ended_ns=2,
        last_received_ns=3,
        state="complete",
        request="",
        trace_ids=(name,),
        calls=tuple(call(tool, step=i, trajectory_id=name) for i, tool in enumerate(tools)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace


def labels(name: str, category: str = "UA01") -> Labels:
    action = Action(
        name, 0, category, "v", "succeeded", "first", "r", 1, "stable", ("name",), "high"
    )
    return Labels((action,), (Opportunity(name, 0, category, "cleanup", "first", True, True),))


def test_a_changed_trajectory_is_rewritten_whole(store: Store) -> None:
    store.commit(
        Changes(
            trajectories=[trajectory("a", ("rm", "ls", "cat")), trajectory("b")],
            labels={"a": labels("a", "UA01"), "b": labels("b", "UA02")},
        )
    )
    changed = trajectory("a", ("mv",), judged_calls=1, ended_ns=9)
    store.commit(Changes(trajectories=[changed], labels={"a": labels("a", "UA03")}))
    assert list(store.trajectories("")) == [trajectory("b"), changed]
    assert [t.trajectory_id for t in store.trajectories("list_contains(categories, 'UA03')")] == [
        "a"
    ]
    assert list(store.trajectories("list_contains(categories, 'UA01')")) == []


def test_removed_trajectories_leave_nothing_but_their_spans(store: Store) -> None:
    spans = Spans()
    span = spans.span("x")
    store.commit(
        Changes(
            spans=[span],
            trajectories=[trajectory("trace", trace_ids=(span.trace_id,))],
            labels={"trace": labels("trace")},
        )
    )
    moved = trajectory("conversation", trace_ids=(span.trace_id,), judged_calls=1)
    store.commit(Changes(trajectories=[moved], removed=["trace"]))
    assert list(store.trajectories("")) == [moved]
    restored = store.restore_traces(frozenset({span.trace_id}))
    assert restored.spans == (span,)
    assert restored.judged == {"conversation": 1}


def test_restoring_a_trajectory_gives_the_spans_of_all_its_traces(store: Store) -> None:
    one, two, other = Spans(1).span("x"), Spans(2).span("y"), Spans(3).span("z")
    made = trajectory("c", trace_ids=(one.trace_id, two.trace_id), state="open")
    store.commit(
        Changes(spans=[one, other], trajectories=[replace(made, trace_ids=(one.trace_id,))])
    )
    store.commit(Changes(spans=[two], trajectories=[made]))
    restored = store.restore_trajectories(frozenset({"c", "unknown"}))
    assert sorted(span.name for span in restored.spans) == ["x", "y"]
    assert restored.judged == {"c": 0}
    assert store.open_trajectories(10) == ["c"]
    assert store.open_trajectories(0) == []
    assert store.open_trajectories(10, made.last_received_ns) == []
    assert store.open_trajectories(10, made.last_received_ns + 1) == ["c"]
    assert store.restore_traces(frozenset({"f" * 32})).spans == ()
    assert store.restore_traces(frozenset()).spans == ()


def test_a_conflicting_span_is_kept_beside_once_and_restored_after_the_first(store: Store) -> None:
    span = Spans().span("x")
    forged = replace(span, name="y", digest="other")
    store.commit(Changes(spans=[span], conflicts=[forged]))
    store.commit(Changes(conflicts=[forged]))
    assert store.restore_traces(frozenset({span.trace_id})).spans == (span, forged)
    rows = store.read("SELECT name, conflict FROM spans ORDER BY name")
    assert rows == [("x", False), ("y", True)]


def test_only_complete_trajectories_in_the_order_of_their_end(store: Store) -> None:
    made = [trajectory(f"{i:03}", ended_ns=1000 - i // 2) for i in range(600)]
    store.commit(Changes(trajectories=[*made, trajectory("open", state="open")]))
    read = list(store.trajectories("true", with_calls=False))
    expected = sorted(made, key=lambda t: (t.ended_ns, t.trajectory_id))
    assert read == [replace(t, calls=()) for t in expected]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nope = 1", "nope"),
        ("calls >", "column 7"),
        ("1=1) OR (1=1", "column 4"),
        ("true ORDER BY 1", "one expression"),
        ("true LIMIT 1", "one expression"),
        ("true GROUP BY 1", "one expression"),
        ("true UNION SELECT 1", "one expression"),
        ("true; DROP VIEW calls", "only a SELECT"),
        ("agent = (SELECT value FROM duckdb_settings())", "duckdb_settings"),
        ("trajectory_id IN (SELECT trajectory_id FROM data.calls)", "data.calls"),
        ("agent = getenv('HOME')", "column 9"),
        ("calls = 'many'", "many"),
        ("$1", "parameters"),
    ],
)
def test_a_condition_is_one_expression_over_the_views(store: Store, where: str, said: str) -> None:
    store.commit(Changes(trajectories=[trajectory("a")]))
    with pytest.raises(BadCondition, match=said.replace(".", r"\.")):
        store.trajectories(where)


def test_a_condition_that_takes_too_long_is_stopped(tmp_path: Path, clock: ManualClock) -> None:
    store = Store(tmp_path, clock, StorageSettings(query=QueryLimits(timeout_s=0.3)))
    store.commit(Changes(trajectories=[trajectory(f"{i}") for i in range(500)]))
    endless = "(SELECT sum(sqrt(a.range + b.range)) FROM range(1000000) a, range(1000000) b) > 0"
    with pytest.raises(BadCondition, match=r"longer than 0\.3 s"):
        store.trajectories(endless)
    assert len(list(store.trajectories(""))) == 500
    store.close()


@pytest.mark.parametrize(
    "where",
    [
        "",
        "  ",
        "agent = 'agent' -- and no more",
        "agent LIKE 'ag%' AND calls BETWEEN 1 AND 5 OR denied > 0",
        "started_at >= TIMESTAMP '1970-01-01' AND ended_at < now()",
        "trajectory_id IN (SELECT trajectory_id FROM calls WHERE tool = 'rm')",
        "regexp_matches(model, '^mod') AND len(categories) = 0",
        "subject = 'test/agent/1/model'",
    ],
)
def test_conditions_that_people_write(store: Store, where: str) -> None:
    store.commit(Changes(trajectories=[trajectory("a")]))
    assert [t.trajectory_id for t in store.trajectories(where)] == ["a"]


def test_a_folder_has_one_owner(store: Store, tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(DataFolderInUse, match=r"process \d+"):
        Store(tmp_path / "data", clock, wait_s=0)
    store.close()
    store.close()
    Store(tmp_path / "data", clock).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"data: .*file"):
        Store(tmp_path / "file" / "data", clock)


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.commit(Changes())
    with pytest.raises(StoreUnavailable, match="closed"):
        store.ledger()


def test_what_was_committed_is_there_after_reopening(store: Store) -> None:
    store.commit(Changes(trajectories=[trajectory("a")]))
    store.reopen()
    assert list(store.trajectories("")) == [trajectory("a")]


def test_a_settled_trajectory_keeps_its_rows_and_takes_its_new_state(store: Store) -> None:
    spans = Spans()
    span = spans.span("x")
    still = trajectory("a", state="open", judged_calls=0, trace_ids=(span.trace_id,))
    store.commit(Changes(spans=[span], trajectories=[still], labels={"a": labels("a")}))
    store.commit(Changes(trajectories=[trajectory("other")]))
    done = replace(still, state="complete", judged_calls=len(still.calls))
    store.commit(Changes(trajectories=[done], settled=frozenset({"a"})))
    assert {t.trajectory_id: t for t in store.trajectories("")}["a"] == done
    assert store.open_trajectories(10) == []
    assert store.restore_traces(frozenset({span.trace_id})).judged == {"a": len(still.calls)}
    assert len(store.read("SELECT * FROM actions WHERE trajectory_id = 'a'")) == 1
    # Written whole again, nothing of before is left.
    reopened = replace(done, state="reopened", calls=done.calls[:1])
    store.commit(Changes(trajectories=[reopened]))
    (rows,) = store.read("SELECT count(*) FROM calls WHERE trajectory_id = 'a'")
    assert rows == (1,)
    assert store.read("SELECT * FROM actions WHERE trajectory_id = 'a'") == []


def test_a_settled_trajectory_that_is_not_stored_is_not_made(store: Store) -> None:
    store.commit(Changes(trajectories=[trajectory("a")], settled=frozenset({"a", "b"})))
    assert list(store.trajectories("")) == []
