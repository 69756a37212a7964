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
from contracts.trajectory import Subject
from contracts.verdict import Evidence, Verdict, VerdictState
from detectors.allowance import calibrated_threshold, paging
from detectors.baseline import Reference
from detectors.comparison import Compared
from detectors.decision import verdict
from detectors.detector import (
    ALARM_AT,
    ALARMS,
    BROKEN,
    INVISIBLE,
    OPPORTUNITIES,
    UNSUPPORTED,
    DetectorState,
    statistic,
    update,
)
from detectors.evidence import OF_ORDERS, Columns, evidence
from detectors.features import ORDERS, STREAMS, TRACKS, Integers
from detectors.figures import figures, passed
from detectors.omnibus import OmnibusState, follow
from detectors.sequential import Settings
from detectors.unforeseen import blind_by

_LEADING: Final = 3
_MAGIC: Final = b"TTW2"
_WORST: Final[Mapping[VerdictState, int]] = {"alarm": 0, "blind": 1, "insufficient": 2, "clear": 3}

Excess = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Watch:
    """Detector states, one per track. `omnibus`: whether the shape of behaviour differs.
    `leading`: per category the trajectories with the largest excess of taken over expected, most
    first. `refused`: trajectories left out because the reference was fitted on them. `doubtful`:
    opportunities per stream that speak for no `clear` (`Reference.doubtful`), (STREAMS,).
    `calibrated_at`: number of the trajectory at which the statistic first passed the calibrated
    threshold, or 0, (tracks, categories). Never changed in place.
    """

    detectors: tuple[DetectorState, ...]
    omnibus: OmnibusState
    leading: Mapping[int, tuple[Excess, ...]]
    refused: int
    doubtful: Integers
    calibrated_at: Integers

    @classmethod
    def new(cls, reference: Reference, settings: Settings) -> "Watch":
        """Before the first trajectory."""
        states = tuple(DetectorState.new(each, settings) for each in reference.calibrations)
        since = np.zeros((len(TRACKS), len(CATEGORY_IDS)), np.int64)
        return cls(states, OmnibusState.new(), {}, 0, np.zeros(STREAMS, np.int64), since)

    def observe(
        self,
        reference: Reference,
        settings: Settings,
        subject: Subject,
        items: Sequence[Compared],
        refused: int = 0,
    ) -> tuple["Watch", list[tuple[int, Evidence]], list[tuple[int, int, int]]]:
        """The watch after trajectories in their order. `refused`: how many were left out.

        Also the evidence rows with the index of their trajectory, and (category, alarm number,
        index of the trajectory that raised it) of alarms that are new.
        """
        limits = [
            calibrated_threshold(reference.document, track, settings)
            for track in range(len(TRACKS))
        ]
        results = [
            update(
                state,
                calibration,
                [each.tracks[track] for each in items],
                paging(reference.document, track, settings),
            )
            for track, (state, calibration) in enumerate(
                zip(self.detectors, reference.calibrations, strict=True)
            )
        ]
        states = tuple(state for state, _ in results)
        updates = [done for _, done in results]
        standing = np.any([state.counts[ALARM_AT] > 0 for state in self.detectors], axis=0)
        alarmed = np.any([done.alarmed for done in updates], axis=0)
        alarms = [
            (
                int(k),
                sum(int(state.counts[ALARMS, k]) for state in states),
                int(np.argmax(alarmed[:, k])),
            )
            for k in np.flatnonzero(alarmed.any(axis=0) & ~standing)
        ]
        leading = dict(self.leading)
        rows: list[tuple[int, Evidence]] = []
        columns = [Columns(done) for done in updates]
        seen = np.any([state.counts[OPPORTUNITIES] > 0 for state in self.detectors], axis=0)
        shown = np.any([done.opportunities > 0 for done in updates], axis=0)
        shown = np.logical_or.accumulate(shown, axis=0) | seen
        for place, k in np.argwhere(shown).tolist():
            row = evidence(columns, place, k, subject, reference, items[place].trajectory)
            rows.append((place, row))
            kept = {identity: excess for excess, identity in leading.get(k, ())}
            if row.taken or row.trajectory_id in kept:  # one that was judged in parts leads once
                so_far = kept.get(row.trajectory_id, 0.0)
                kept[row.trajectory_id] = so_far + row.taken - row.expected
                most = sorted(kept, key=lambda identity: -kept[identity])[:_LEADING]
                leading[k] = tuple((kept[identity], identity) for identity in most)
        watch = Watch(
            states,
            self._shapes(reference, settings, items, updates[0].n.tolist()),
            leading,
            self.refused + refused,
            self.doubtful + sum(each.doubtful for each in items),
            np.stack([
                passed(before, done, limit)
                for before, done, limit in zip(self.calibrated_at, updates, limits, strict=True)
            ]),
        )  # fmt: skip
        return watch, rows, alarms

    def _shapes(
        self,
        reference: Reference,
        settings: Settings,
        items: Sequence[Compared],
        numbers: Sequence[int],
    ) -> OmnibusState:
        """The omnibus test after the trajectories that are judged from their first call."""
        seen = [
            (number, each.context, each.shape)
            for number, each in zip(numbers, items, strict=True)
            if each.shape is not None
        ]
        return follow(self.omnibus, reference.shapes, seen, settings.alpha)

    def verdicts(
        self, reference: Reference, settings: Settings, subject: Subject, now_ns: int
    ) -> list[Verdict]:
        """The verdict of each category."""
        values = [
            statistic(state, calibration, settings)
            for state, calibration in zip(self.detectors, reference.calibrations, strict=True)
        ]

        def of(track: int, k: int) -> Verdict:
            return verdict(
                self.detectors[track], reference.calibrations[track], k, settings, subject=subject,
                reference=reference.info.name, kind=reference.info.kind, updated_ns=now_ns,
                log_statistic=float(values[track][k]),
            )  # fmt: skip

        acts_known, orders_known = (
            bool(calibration.knows()[OF_ORDERS]) for calibration in reference.calibrations
        )
        out: list[Verdict] = []
        told = figures(self.detectors, self.calibrated_at, self.omnibus, reference, settings)
        for k in range(len(CATEGORY_IDS)):
            worst, stream = of(0, k), k
            if k == OF_ORDERS and orders_known:
                orders = of(1, k)
                # that no order was obeyed says nothing of a scope that nobody knew
                unseen = bool(self.detectors[0].counts[INVISIBLE, k])
                if not (acts_known or unseen) or _rank(orders) < _rank(worst):
                    worst, stream = orders, ORDERS
            doubtful = int(self.doubtful[stream])
            if worst.state == "clear" and doubtful > (
                settings.unsupported_share * worst.opportunities
            ):
                reason = (
                    f"{doubtful} of {worst.opportunities} opportunities are with tools that the"
                    " reference never had, or have no time or times that contradict each other"
                )
                worst = replace(worst, state="insufficient", reason=reason)
            if worst.state in ("clear", "insufficient") and stream != ORDERS:
                reason = blind_by(reference.document, CATEGORY_IDS[k], settings.unsupported_share)
                if reason:
                    worst = replace(worst, state="blind", reason=reason, needed=None)
            if self.refused and worst.state == "clear":
                reason = f"the reference was fitted on {self.refused} of these trajectories"
                worst = replace(worst, state="insufficient", reason=reason)
            out.append(replace(worst, **told[k]))
        return out

    def unjudged(self) -> Integers:
        """Opportunities that were not seen, lie outside the reference, or got no hazard; (k,)."""
        rows = [state.counts[[INVISIBLE, UNSUPPORTED, BROKEN]] for state in self.detectors]
        total: Integers = np.concatenate(rows).sum(axis=0)
        return total

    def leaders(self, category: int) -> tuple[str, ...]:
        """Ids of the trajectories that contributed most, most first."""
        return tuple(identity for _, identity in self.leading.get(category, ()))

    def to_bytes(self) -> bytes:
        """The whole state."""
        leading = {str(k): value for k, value in sorted(self.leading.items())}
        head = {
            "leading": leading, "refused": self.refused, "doubtful": self.doubtful.tolist(),
            "calibrated_at": self.calibrated_at.tolist(),
        }  # fmt: skip
        parts = [orjson.dumps(head), self.omnibus.to_bytes()]
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
            if at != len(data) or len(parts) != 2 + len(TRACKS):
                raise ValueError("another length")
            head = orjson.loads(parts[0])
            leading = {
                int(k): tuple((float(excess), str(identity)) for excess, identity in value)
                for k, value in head["leading"].items()
            }
            refused = int(head["refused"])
            doubtful = np.array(head["doubtful"], np.int64).reshape(STREAMS)
            since = np.array(head["calibrated_at"], np.int64)
            since = since.reshape(len(TRACKS), len(CATEGORY_IDS))
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise BaselineError(f"a stored detector state cannot be read: {error}") from error
        omnibus = OmnibusState.from_bytes(parts[1])
        states = tuple(DetectorState.from_bytes(part) for part in parts[2:])
        return cls(states, omnibus, leading, refused, doubtful, since)


def _rank(each: Verdict) -> tuple[int, float]:
    return _WORST[each.state], -each.evidence_log10
