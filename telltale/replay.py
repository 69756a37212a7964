"""Payload files through the production path into a store."""

from collections.abc import Callable
from dataclasses import dataclass

from collector.replay import ReplaySource
from contracts.clock import Clock
from contracts.ports import TrajectoryStore
from telltale.loop import MAX_RECORDS
from telltale.pipeline import Pipeline, Step


@dataclass(slots=True)
class Counts:
    """What a replay brought. `spans`: new ones; `calls`, `trajectories`: made or revised."""

    payloads: int = 0
    spans: int = 0
    logs: int = 0
    duplicates: int = 0
    conflicts: int = 0
    calls: int = 0
    trajectories: int = 0
    dead_letters: int = 0


def replay(
    source: ReplaySource,
    pipeline: Pipeline,
    store: TrajectoryStore,
    clock: Clock,
    progress: Callable[[int], None] = lambda payloads: None,
) -> Counts:
    """Everything of `source`, committed; at its end all open trajectories are complete and judged.

    `progress` is told the number of payloads of each batch. Raises what `commit` raises.
    """
    counts = Counts()
    calls: dict[str, int] = {}

    def commit(step: Step) -> None:
        store.commit(step.changes)
        pipeline.committed()
        changes = step.changes
        counts.spans += len(changes.spans)
        counts.logs += len(changes.logs)
        counts.duplicates += changes.duplicates
        counts.conflicts += len(changes.conflicts)
        counts.dead_letters += len(changes.dead_letters)
        for trajectory_id in changes.removed:
            calls.pop(trajectory_id, None)
        calls.update({t.trajectory_id: len(t.calls) for t in changes.trajectories})

    while not source.exhausted:
        records = source.poll(0.0, MAX_RECORDS)
        if not records:
            continue
        now_ns = clock.now_ns()
        commit(pipeline.process(records, (), now_ns, now_ns))
        source.acknowledge(records, {})
        counts.payloads += len(records)
        progress(len(records))
    # what the bound on memory evicted is open in the store only
    while True:
        now_ns = clock.now_ns()
        commit(pipeline.process((), (), now_ns, now_ns, everything_due=True))
        if not pipeline.take_back_open():
            break
    counts.calls = sum(calls.values())
    counts.trajectories = len(calls)
    return counts
