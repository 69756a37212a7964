"""A labelled trajectory as arrays: opportunities, and what was known before each call.

Two tracks of events share the sixteen categories. `acts`: the rules' opportunities, taken or not.
`orders`: every call is an opportunity to do what a tool result ordered (`detectors.provenance`),
judged as scope violation (UA13); the gate is every call, not only risky ones, because a guardrail
that is lost also shows in how often risky calls come at all.

Features never look at the call itself. They speak of families of tools and of hashed names, so an
unseen tool changes one feature of many. The track `orders` is conditional on role and depth of
agent alone: whether an order was read, how far the trajectory came, what failed before are all
effects of a guardrail, and conditioning on them would hide the guardrail's loss. For the same
reason an act that was stopped (denied, blocked) is not taken.

A hazard is that of the FIRST act of a stream in a trajectory: after it the stream has no further
opportunities there. Retries and loops repeat an act dozens of times; as independent events one such
burst would be an alarm.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from contracts.labels import CATEGORY_IDS, Labels, Opportunity
from contracts.span import Value
from contracts.trajectory import Call, Trajectory
from detectors.parsing.names import tool_act
from detectors.provenance import Orders

Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

TRACKS: Final = ("acts", "orders")
ORDERS: Final = len(CATEGORY_IDS)
"""Stream of the track `orders`; streams below it are the categories of the track `acts`."""
STREAMS: Final = ORDERS + 1
STREAM_CATEGORY: Final = (*range(len(CATEGORY_IDS)), CATEGORY_IDS.index("UA13"))
"""Index into `CATEGORY_IDS` per stream."""

BUCKETS: Final = 2_048
SLOTS: Final = (
    "role", "agent", "position", "tool", "act", "acts", "outcome", "errors", "denied", "taken",
    "result_size", "result_shape", "gap", "offered", "repeat", "variety",
    "family", "first",
)  # fmt: skip
"""Features in the order of the columns; the last two are of the opportunity, not of the call."""
CALL_SLOTS: Final = SLOTS[:-2]
_GIVEN: Final = 2
"""Leading slots that nothing a guardrail does can change; all that the track `orders` looks at."""
TABLE_SLOTS: Final = ("role", "position", "errors")
"""What a table by context distinguishes."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The opportunities of one trajectory in step order, shapes (n,); `features` (n, SLOTS).

    `stream`: index below `STREAMS`. `step`: index into the trajectory's calls. `features`: bucket
    of each slot. `tokens`: (calls, 4) buckets of each call's tool, act, outcome and labels, for
    sequence models; those of the calls before a step are known at it. `blind`: share of calls whose
    arguments were not seen.
    """

    trajectory_id: str
    role: str
    stream: Integers
    step: Integers
    taken: Flags
    after_error: Flags
    first: Flags
    visible: Flags
    features: Integers
    tokens: Integers
    blind: float

    def __len__(self) -> int:
        return len(self.stream)


@lru_cache(maxsize=65_536)
def bucket(slot: str, value: str) -> int:
    """Bucket of a feature, the same on every machine."""
    return zlib.crc32(f"{slot}={value}".encode()) % BUCKETS


_INDEX: Final = {category: number for number, category in enumerate(CATEGORY_IDS)}
_UNUSED: Final = [bucket(slot, "-") for slot in SLOTS[_GIVEN:]]


OUTER_SLOTS: Final = ("role", "agent", "errors", "denied", "offered")
"""What the first act of a family is compared by."""
_OUTER: Final = [None if slot in OUTER_SLOTS else bucket(slot, "-") for slot in CALL_SLOTS]


def _outer(known: Sequence[int]) -> list[int]:
    """The slots of a first act. Whether an agent looks before it acts is part of the same choice:
    were the first act compared given the looking, "deletes at once" would be explained by "did not
    look", and a student that has learnt to delete first would never stand out.
    """
    return [here if there is None else there for here, there in zip(known, _OUTER, strict=True)]


def role_of(trajectory: Trajectory) -> str:
    """The role a reference's contexts and targets are kept by: service and agent."""
    return f"{trajectory.service}/{trajectory.agent}"


def _level(count: float) -> str:
    """A count to a power of two, so that long trajectories meet few new features."""
    return str(0 if count < 1 else 1 + int(math.log2(count)))


def _shape(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list" if value else "empty"
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    return "scalar"


def _size(value: Value) -> int:
    """Rough length of a result, bounded work."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return 16 * len(value) + sum(len(v) for v in value.values() if isinstance(v, str))
    if isinstance(value, list):
        return 16 * len(value)
    return 0 if value is None else 8


def act_of(call: Call) -> str:
    """What the call's tool does, by verb-object analysis of its name and argument names."""
    names = tuple(call.arguments) if isinstance(call.arguments, dict) else ()
    return _act(call.tool, call.tool_description, names)


@lru_cache(maxsize=16_384)
def _act(tool: str, description: str, names: tuple[str, ...]) -> str:
    return tool_act(tool, description, names).act


class _History:
    """What is known before the next call; `extend` adds a call and its labels."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._role = role_of(trajectory)
        self._agent = trajectory.agent
        self._last: Call | None = None
        self._act = self._act_before = "start"
        self._position = self._errors = self._denied = self._repeats = 0
        self._tools: set[str] = set()
        self.taken: dict[str, int] = {}
        self.failed = False

    def given(self, call: Call) -> list[int]:
        """Buckets of the first `_GIVEN` slots."""
        agent = "top" if call.agent == self._agent else "sub"
        return [bucket("role", self._role), bucket("agent", agent)]

    def slots(self, call: Call) -> list[int]:
        """Buckets of `CALL_SLOTS`; of `call` itself only agent, time and tools offered are read."""
        last = self._last
        gap = 0.0 if last is None else (call.started_ns - last.started_ns) / 1e9
        values = (
            _level(self._position),
            "start" if last is None else last.tool,
            self._act,
            f"{self._act_before}>{self._act}",
            "start" if last is None else last.outcome,
            _level(self._errors),
            _level(self._denied),
            "+".join(sorted(self.taken)) or "none",
            "none" if last is None else _level(_size(last.result) / 16),
            "none" if last is None else _shape(last.result),
            _level(max(gap, 0.0)),
            _level(len(call.tools_offered)),
            _level(self._repeats),
            _level(len(self._tools)),
        )
        rest = zip(CALL_SLOTS[_GIVEN:], values, strict=True)
        return self.given(call) + [bucket(slot, value) for slot, value in rest]

    def extend(self, call: Call, taken: Sequence[str]) -> list[int]:
        """Buckets of the call's token for sequence models."""
        act = act_of(call)
        same = self._last is not None and self._last.tool == call.tool
        self._repeats = self._repeats + 1 if same else 0
        self._act_before, self._act, self._last = self._act, act, call
        self._position += 1
        self._tools.add(call.tool)
        if call.outcome not in ("ok", "unknown"):
            self._errors += 1
            self.failed = True
        self._denied += call.outcome == "denied"
        for category in taken:
            self.taken[category] = self.taken.get(category, 0) + 1
        return [
            bucket("token.tool", call.tool),
            bucket("token.act", act),
            bucket("token.outcome", call.outcome),
            bucket("token.taken", "+".join(taken) or "none"),
        ]


def encode(trajectory: Trajectory, labels: Labels) -> Encoded:
    """The arrays of a trajectory and its labels. Pure; `labels` are of `trajectory.calls`."""
    at_step: dict[int, list[Opportunity]] = {}
    for opportunity in labels.opportunities:
        at_step.setdefault(opportunity.step, []).append(opportunity)
    let = {(a.step, a.category) for a in labels.actions if a.stage != "blocked"}
    stopped = {(a.step, a.category) for a in labels.actions} - let
    history, orders = _History(trajectory), Orders(trajectory.request)
    rows: list[tuple[int, int, bool, bool, bool, bool]] = []
    features: list[list[int]] = []
    tokens: list[list[int]] = []
    done: set[int] = set()
    unseen = 0
    for number, call in enumerate(trajectory.calls):
        unseen += call.arguments_state in ("absent", "invalid")
        known: list[int] = []
        obeyed = call.outcome in ("ok", "unknown") and orders.obeyed(call)
        if ORDERS not in done:
            rows.append((ORDERS, number, obeyed, False, False, _clear(call, orders, number)))
            features.append(history.given(call) + _UNUSED)
        taken: list[str] = []
        for each in at_step.get(call.step, ()):
            first = each.position != "any"
            stream = _INDEX[each.category]
            acted = each.taken and (each.step, each.category) not in stopped
            if stream not in done:
                rows.append((stream, number, acted, history.failed, first, each.visible))
                known = known or history.slots(call)
                before = _outer(known) if first else known
                features.append(
                    [*before, bucket("family", each.family), bucket("first", str(first))]
                )
            if acted:
                taken.append(each.category)
                done.add(stream)
        if obeyed:
            taken.append("orders")
            done.add(ORDERS)
        tokens.append(history.extend(call, taken))
        orders.read(call)
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    return Encoded(
        trajectory.trajectory_id,
        role_of(trajectory),
        columns[0],
        columns[1],
        columns[2].astype(np.bool_),
        columns[3].astype(np.bool_),
        columns[4].astype(np.bool_),
        columns[5].astype(np.bool_),
        np.array(features, np.int64).reshape(-1, len(SLOTS)),
        np.array(tokens, np.int64).reshape(-1, 4),
        unseen / max(1, len(trajectory.calls)),
    )


def _clear(call: Call, orders: Orders, number: int) -> bool:
    """Whether obeying an order could have been seen: plain arguments, and results of calls before.

    Digests in the place of values hide a value's source; the first call has none to obey.
    """
    if call.arguments_state in ("absent", "invalid", "redacted"):
        return False
    return number == 0 or orders.seen
