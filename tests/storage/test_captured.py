"""Spans that real SDKs sent, through decoder and joiner, come back from the store as they were."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from collector.otlp import decode
from collector.sessions import Sessions
from contracts.ports import Changes
from contracts.record import Record
from contracts.span import LogEvent, Span
from contracts.trajectory import Trajectory
from storage.store import Store

FOLDER = Path(__file__).parents[3] / "shared" / "spans"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no captured spans in {FOLDER.name}"),
]


def records() -> list[Record]:
    paths = sorted(path for path in FOLDER.glob("*/*/*.*") if path.suffix in (".binpb", ".json"))
    return [
        Record(
            path.read_bytes(),
            "logs" if ".logs." in path.name else "traces",
            "otlp_json" if path.suffix == ".json" else "otlp_proto",
            "replay",
            number,
        )
        for number, path in enumerate(paths, start=1)
    ]


def by_id(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.trace_id, span.span_id, span.digest))


def by_digest(logs: Sequence[LogEvent]) -> list[LogEvent]:
    return sorted(logs, key=lambda log: (log.trace_id, log.digest))


def test_captured_spans_and_trajectories_round_trip(store: Store) -> None:
    decoded = decode(records())
    sessions = Sessions()
    added = sessions.add(
        [span for one in decoded for span in one.spans],
        [log for one in decoded for log in one.logs],
    )
    joined = sessions.assemble(1, everything_due=True)
    assert len(added.spans) > 1000
    assert len(joined.due) > 100
    store.commit(
        Changes(
            spans=added.spans,
            logs=added.logs,
            conflicts=added.conflicts,
            trajectories=joined.changed,
        )
    )
    back = store.restore_traces(frozenset(span.trace_id for span in added.spans))
    assert by_id(back.spans) == by_id((*added.spans, *added.conflicts))
    traced = [log for log in added.logs if log.trace_id]
    assert by_digest(back.logs) == by_digest(traced)
    complete = sorted(joined.changed, key=lambda t: (t.ended_ns, t.trajectory_id))
    assert list(store.trajectories("")) == complete
    assert store.verify().problems == ()
    restored = Sessions()
    open_again = store.restore_trajectories(frozenset(t.trajectory_id for t in joined.changed))
    restored.restore(open_again.spans, open_again.logs, open_again.judged)
    again: dict[str, Trajectory] = {
        t.trajectory_id: t for t in restored.assemble(2, everything_due=True).changed
    }
    for trajectory in complete:
        assert again[trajectory.trajectory_id].calls == trajectory.calls
