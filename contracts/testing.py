"""In-memory doubles of the ports, and deterministic time and ids. Shipped and typed like the
rest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from contracts.record import Gap, Partition, Position, Record
from contracts.span import Span, Value
from contracts.trajectory import ArgumentsState, Call, Outcome
from contracts.verdict import Alert


class ManualClock:
    """A clock that moves when told. Starts at 2026-01-01T00:00:00Z."""

    def __init__(self, now_ns: int = 1_767_225_600_000_000_000) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_ns(self) -> int:
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_ns += int(seconds * 1e9)


class ListSource:
    """A `SpanSource` over a list, delivered once; remembers what was acknowledged and refused."""

    def __init__(self, records: Sequence[Record], name: str = "replay") -> None:
        self._records = list(records)
        self._name = name
        self.acknowledged: list[Record] = []
        self.refused: list[Record] = []
        self.rejected: dict[int, int] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def up(self) -> bool:
        return True

    @property
    def stalled(self) -> bool:
        return False

    def start(self, ledger: Mapping[Partition, Position]) -> None:
        done = {partition: position.offset for partition, position in ledger.items()}
        self._records = [
            record
            for record in self._records
            if record.position is None
            or record.position.offset > done.get(record.position.partition, -1)
        ]

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        batch, self._records = self._records[:max_records], self._records[max_records:]
        return batch

    def gaps(self) -> Sequence[Gap]:
        return ()

    def acknowledge(self, records: Sequence[Record], rejected: Mapping[int, int]) -> None:
        self.acknowledged.extend(records)
        self.rejected.update(rejected)

    def refuse(self, records: Sequence[Record], retry_after_s: float) -> None:
        self.refused.extend(records)

    def lag_s(self, now_ns: int) -> float | None:
        return None

    def close(self, timeout_s: float) -> None:
        self._records.clear()


class ListSink:
    """An `AlertSink` that keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def send(self, alerts: Sequence[Alert]) -> None:
        self.sent.extend(alerts)


class Spans:
    """Makes spans of one trace whose ids and times count up, so that a whole trace can be a
    literal.
    """

    def __init__(self, trace: int = 1, start_ns: int = 1_767_225_600_000_000_000) -> None:
        self.trace_id = f"{trace:032x}"
        self._next = trace * 1_000_000
        self._now_ns = start_ns

    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        parent: str = "",
        resource: Mapping[str, Value] | None = None,
        duration_s: float = 1.0,
        **changes: object,
    ) -> Span:
        """One span that starts where the last one ended. `changes`: other fields of `Span`."""
        self._next += 1
        start = self._now_ns
        self._now_ns += int(duration_s * 1e9)
        made = Span(
            trace_id=self.trace_id,
            span_id=f"{self._next:016x}",
            parent_span_id=parent,
            name=name,
            kind=1,
            start_ns=start,
            end_ns=self._now_ns,
            status_code=0,
            status_message="",
            scope="test",
            resource=dict(resource or {"service.name": "svc"}),
            attributes=dict(attributes or {}),
            events=(),
            dropped=0,
            flags=(),
            digest="",
            source="replay",
            received_ns=self._now_ns,
        )
        made = replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace
        digest = hashlib.blake2b(repr(made).encode(), digest_size=16).hexdigest()
        return replace(made, digest=digest)


def call(
    tool: str,
    arguments: Value = None,
    *,
    step: int = 0,
    trajectory_id: str = "t",
    outcome: Outcome = "ok",
    arguments_state: ArgumentsState | None = None,
    result: Value = None,
    **changes: object,
) -> Call:
    """A `Call` with plain defaults, for tests and rule cases. `changes`: its other fields."""
    if arguments_state is None:
        arguments_state = (
            "absent" if arguments is None else "object" if isinstance(arguments, dict) else "text"
        )
    made = Call(
        trajectory_id=trajectory_id,
        step=step,
        trace_id=f"{1:032x}",
        span_id=f"{step + 1:016x}",
        call_id="",
        started_ns=1_767_225_600_000_000_000 + step * 1_000_000_000,
        duration_ns=1_000_000,
        environment="test",
        service="svc",
        agent="agent",
        agent_version="1",
        parent_agent="",
        model="model",
        conversation_id="",
        user_id="",
        tool=tool,
        arguments=arguments,
        arguments_state=arguments_state,
        result=result,
        outcome=outcome,
        error="",
        dialect="test",
        source="replay",
        received_ns=1_767_225_600_000_000_000 + step * 1_000_000_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # field names checked by replace
