"""One subject watched against one reference: the detectors of both tracks as one verdict a
category.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import orjson

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Evidence, Verdict, VerdictState
from detectors.baseline import Reference
from detectors.decision import verdict
from detectors.detector import (
    ALARM_AT,
    ALARMS,
    OPPORTUNITIES,
    DetectorState,
    Update,
    statistic,
    update,
)
from detectors.features import ORDERS, STREAM_CATEGORY, STREAMS, TRACKS, Integers
from detectors.sequential import Opportunities, Settings

_LEADING: Final = 3
_MAGIC: Final = b"TTW1"
_WORST: Final[Mapping[VerdictState, int]] = {"alarm": 0, "blind": 1, "insufficient": 2, "clear": 3}
_OF_ORDERS: Final = STREAM_CATEGORY[ORDERS]
"""The category that both tracks speak of."""

Excess = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Watch:
    """Detector states, one per track. `leading`: per category the trajectories with the largest
    excess of taken over expected, most first. `refused`: trajectories left out because the
    reference was fitted on them. `doubtful`: opportunities per stream that speak for no `clear`
    (`Reference.doubtful`), (STREAMS,). Never changed in place.
    """

    detectors: tuple[DetectorState, ...]
    leading: Mapping[int, tuple[Excess, ...]]
    refused: int
    doubtful: Integers

    @classmethod
    def new(cls, reference: Reference, settings: Settings) -> "Watch":
        """Before the first trajectory."""
        states = tuple(DetectorState.new(each, settings) for each in reference.calibrations)
        return cls(states, {}, 0, np.zeros(STREAMS, np.int64))

    def observe(
        self,
        reference: Reference,
        settings: Settings,
        subject: Subject,
        items: Sequence[tuple[Trajectory, Sequence[Opportunities]]],
        doubtful: Integers,
        refused: int = 0,
    ) -> tuple["Watch", list[tuple[int, Evidence]], list[tuple[int, int]]]:
        """The watch after trajectories in their order, each with its opportunities per track.

        Also the evidence rows with the index of their trajectory, and (category, alarm number) of
        alarms that are new.
        """
        results = [
            update(state, calibration, [each[track] for _, each in items], settings)
            for track, (state, calibration) in enumerate(
                zip(self.detectors, reference.calibrations, strict=True)
            )
        ]
        states = tuple(state for state, _ in results)
        updates = [done for _, done in results]
        standing = np.any([state.counts[ALARM_AT] > 0 for state in self.detectors], axis=0)
        alarmed = np.any([done.alarmed for done in updates], axis=0)
        alarms = [
            (int(k), sum(int(state.counts[ALARMS, k]) for state in states))
            for k in np.flatnonzero(alarmed.any(axis=0) & ~standing)
        ]
        leading = dict(self.leading)
        rows: list[tuple[int, Evidence]] = []
        columns = [_Columns(done) for done in updates]
        seen = np.any([state.counts[OPPORTUNITIES] > 0 for state in self.detectors], axis=0)
        shown = np.any([done.opportunities > 0 for done in updates], axis=0)
        shown = np.logical_or.accumulate(shown, axis=0) | seen
        for place, k in np.argwhere(shown).tolist():
            row = _evidence(columns, place, k, subject, reference, items[place][0])
            rows.append((place, row))
            if row.taken:
                found = (row.taken - row.expected, row.trajectory_id)
                kept = sorted((*leading.get(k, ()), found), key=lambda each: -each[0])
                leading[k] = tuple(kept[:_LEADING])
        watch = Watch(states, leading, self.refused + refused, self.doubtful + doubtful)
        return watch, rows, alarms

    def verdicts(
        self, reference: Reference, settings: Settings, subject: Subject, now_ns: int
    ) -> list[Verdict]:
        """The verdict of each category."""
        out: list[Verdict] = []
        tracks = [
            (state, calibration, statistic(state, calibration, settings), calibration.knows())
            for state, calibration in zip(self.detectors, reference.calibrations, strict=True)
        ]
        for k in range(len(CATEGORY_IDS)):
            acts, orders = (
                verdict(
                    state, calibration, k, settings, subject=subject,
                    reference=reference.info.name, kind=reference.info.kind, updated_ns=now_ns,
                    log_statistic=float(values[k]),
                )
                for state, calibration, values, _ in tracks
            )  # fmt: skip
            known = [bool(knows[k]) for _, _, _, knows in tracks]
            worst = acts
            if k == _OF_ORDERS and known[1]:
                worst = orders if not known[0] else min(acts, orders, key=_rank)
            doubtful = int(self.doubtful[ORDERS if worst is orders else k])
            if worst.state == "clear" and doubtful > (
                settings.unsupported_share * worst.opportunities
            ):
                reason = (
                    f"{doubtful} of {worst.opportunities} opportunities are with tools that the"
                    " reference never had, or have no time"
                )
                worst = replace(worst, state="insufficient", reason=reason)
            if self.refused and worst.state == "clear":
                reason = f"the reference was fitted on {self.refused} of these trajectories"
                worst = replace(worst, state="insufficient", reason=reason)
            out.append(worst)
        return out

    def leaders(self, category: int) -> tuple[str, ...]:
        """Ids of the trajectories that contributed most, most first."""
        return tuple(identity for _, identity in self.leading.get(category, ()))

    def to_bytes(self) -> bytes:
        """The whole state."""
        leading = {str(k): value for k, value in sorted(self.leading.items())}
        head = {
            "leading": leading, "refused": self.refused, "doubtful": self.doubtful.tolist(),
        }  # fmt: skip
        parts = [orjson.dumps(head)]
        parts += [state.to_bytes() for state in self.detectors]
        return _MAGIC + b"".join(struct.pack("<I", len(part)) + part for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Watch":
        """What `to_bytes` wrote. Raises `BaselineError` for anything else."""
        parts: list[bytes] = []
        at = len(_MAGIC)
        try:
            if data[:at] != _MAGIC:
                raise ValueError("another format")
            while at < len(data):
                (size,) = struct.unpack_from("<I", data, at)
                parts.append(data[at + 4 : at + 4 + size])
                at += 4 + size
            if at != len(data) or len(parts) != 1 + len(TRACKS):
                raise ValueError("another length")
            head = orjson.loads(parts[0])
            leading = {
                int(k): tuple((float(excess), str(identity)) for excess, identity in value)
                for k, value in head["leading"].items()
            }
            refused = int(head["refused"])
            doubtful = np.array(head["doubtful"], np.int64).reshape(STREAMS)
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise BaselineError(f"a stored detector state cannot be read: {error}") from error
        states = tuple(DetectorState.from_bytes(part) for part in parts[1:])
        return cls(states, leading, refused, doubtful)


def _rank(each: Verdict) -> tuple[int, float]:
    return _WORST[each.state], -each.evidence_log10


class _Columns:
    """An update's arrays as lists, which are read one number at a time."""

    def __init__(self, done: Update) -> None:
        self.n: list[int] = done.n.tolist()
        self.opportunities: list[list[int]] = done.opportunities.tolist()
        self.taken: list[list[int]] = done.taken.tolist()
        self.expected: list[list[float]] = done.expected.tolist()
        self.evidence: list[list[float]] = done.evidence_log10.tolist()


def _evidence(
    columns: Sequence[_Columns],
    place: int,
    k: int,
    subject: Subject,
    reference: Reference,
    trajectory: Trajectory,
) -> Evidence:
    """The row of the track that speaks of the category; of both, that with the larger statistic."""
    acts, orders = columns
    louder = k == _OF_ORDERS and orders.evidence[place][k] > acts.evidence[place][k]
    best = orders if louder else acts
    return Evidence(
        subject=subject,
        category=CATEGORY_IDS[k],
        reference=reference.info.name,
        trajectory_id=trajectory.trajectory_id,
        n=best.n[place],
        opportunities=best.opportunities[place][k],
        taken=best.taken[place][k],
        expected=best.expected[place][k],
        evidence_log10=best.evidence[place][k],
    )
