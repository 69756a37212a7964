"""Every read that the API, the UI and the commands share: the API's `Ports` over a store."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pyarrow as pa

from contracts.ports import Labeller
from contracts.span import Value
from contracts.verdict import Alert, Verdict
from detectors.toolmap import ToolMap
from storage import listings
from storage.config import QueryLimits
from storage.listings import TrajectorySummary
from storage.store import Store
from telltale.api.ports import (
    Explanation,
    QueryResult,
    Readiness,
    SubjectSummary,
    TrajectoryDetail,
    TrajectoryFilter,
)
from telltale.doctor import Observations, examine
from telltale.explain import Explainer

UNREADABLE = ("absent", "redacted", "invalid")
"""States of arguments in which nothing of them can be judged."""


class Reads:
    """`telltale.api.ports.Ports` over an open store. Thread-safe.

    `readiness`, `metrics`, `observations`: what only a running daemon knows; without one the store
    alone is ready, has no metrics, and the doctor speaks of what is stored.
    """

    def __init__(
        self,
        store: Store,
        labeller: Labeller,
        tools: ToolMap,
        explainer: Explainer,
        limits: QueryLimits,
        readiness: Callable[[], Readiness] = Readiness,
        metrics: Callable[[], bytes] = bytes,
        observations: Callable[[], Observations] = Observations,
    ) -> None:
        self._store = store
        self._labeller = labeller
        self._tools = tools
        self._explainer = explainer
        self._limits = limits
        self._readiness = readiness
        self._metrics = metrics
        self._observations = observations

    def query(self, sql: str, max_rows: int) -> QueryResult:
        """At most `max_rows` rows of one read-only SELECT. Raises `QueryRefused`."""
        table: pa.Table = self._store.query(sql, self._limits)
        return QueryResult(table.slice(0, max_rows), table.num_rows > max_rows)

    def trajectories(self, asked: TrajectoryFilter) -> Sequence[TrajectorySummary]:
        equal = {
            name: value
            for name in ("environment", "agent", "agent_version", "model", "state")
            if (value := str(getattr(asked, name)))
        }
        return self._store.fetch(
            partial(
                listings.summaries,
                equal=equal,
                category=asked.category,
                tool=asked.tool,
                since_ns=asked.since_ns,
                until_ns=asked.until_ns,
                limit=asked.limit,
                offset=asked.offset,
            )
        )

    def trajectory(self, trajectory_id: str) -> TrajectoryDetail | None:
        trajectory = self._store.fetch(partial(listings.trajectory, trajectory_id=trajectory_id))
        if trajectory is None:
            return None
        labels = self._labeller.label(trajectory.calls, trajectory.request)
        return TrajectoryDetail(trajectory, labels)

    def alerts(self, limit: int, offset: int) -> Sequence[Alert]:
        return self._store.fetch(partial(listings.alerts, limit=limit, offset=offset))

    def explanation(self, alert_id: str) -> Explanation | None:
        return self._explainer.explain(alert_id)

    def verdicts(self) -> Sequence[Verdict]:
        return self._store.fetch(listings.verdicts)

    def subjects(self) -> Sequence[SubjectSummary]:
        return [
            SubjectSummary(
                seen.subject,
                seen.trajectories,
                seen.calls,
                seen.first_received_ns,
                seen.last_received_ns,
                coverage(seen.arguments_states),
            )
            for seen in self._store.fetch(listings.subjects)
        ]

    def doctor(self) -> Mapping[str, Value]:
        return examine(self._store, self._tools, self._observations())

    def readiness(self) -> Readiness:
        return self._readiness()

    def metrics(self) -> bytes:
        return self._metrics()


def coverage(states: Mapping[str, int]) -> float | None:
    """Share of calls whose arguments could be read; None without calls."""
    calls = sum(states.values())
    if not calls:
        return None
    return 1.0 - sum(states.get(state, 0) for state in UNREADABLE) / calls
