"""The seam between hazards and verdicts, and the elementary e-processes.

Whoever knows hazards hands over `Opportunities` (one trajectory, all categories); the reference's
own cross-fitted `Opportunities` become an `upper_hazard.Calibration` by `upper_hazard.calibrate`;
`detector.update` and `decision.verdict` do the rest:

    calibration = calibrate(reference, contexts, settings)      # or upper_hazard.ceiling(limits)
    state = DetectorState.new(calibration, settings)            # to_bytes, from_bytes
    state, change = update(state, calibration, [opportunities, ...], settings)
    verdict(state, calibration, category_index, settings, subject=..., reference=..., kind=...)

Everything here is a function of arrays, in log space, over any number of bets and cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from contracts.labels import CATEGORY_IDS
from detectors.bets import BETS, Bet

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

CATEGORIES = len(CATEGORY_IDS)
MOST_CONTEXTS = 12
"""Contexts a reference may distinguish: sixteen categories' states must fit in 64 kB."""

NO_CONTEXT = -1
"""The context id of a situation the reference never saw."""


@dataclass(frozen=True, slots=True)
class Opportunities:
    """The opportunities of one trajectory, all categories together, in step order; shapes (n,).

    `category`: index into `CATEGORY_IDS`. `hazard`: the reference's probability that the action is
    taken, given everything known before it; NaN marks a broken model, never a safe step. `taken`:
    whether it was. `cell`: context id, 0 <= id < the calibration's `contexts`, or `NO_CONTEXT`
    where the reference never had such a situation. `after_error`: a call of the trajectory before
    it failed or was denied. `first`: it is the first substantive action or the first of its family.
    `visible`: False where what decides about `taken` was not seen; never evidence of safety.

    `again`: the trajectory was judged before, up to a step; the first `consumed` opportunities were
    consumed then. They add nothing: they tell what the trajectory had begun by that step.
    """

    category: Integers
    hazard: Floats
    taken: Flags
    cell: Integers
    after_error: Flags
    first: Flags
    visible: Flags
    again: bool = False
    consumed: int = 0

    def __post_init__(self) -> None:
        shape = self.category.shape
        others = (self.hazard, self.taken, self.cell, self.after_error, self.first, self.visible)
        if len(shape) != 1 or any(each.shape != shape for each in others):
            raise ValueError("the arrays of Opportunities must share one shape (n,)")
        if not 0 <= self.consumed <= (len(self.category) if self.again else 0):
            raise ValueError("only a trajectory judged before has consumed opportunities")

    def __len__(self) -> int:
        return len(self.category)

    def only(self, where: Flags) -> "Opportunities":
        """Those where `where`, shape (n,), is true."""
        return Opportunities(
            self.category[where],
            self.hazard[where],
            self.taken[where],
            self.cell[where],
            self.after_error[where],
            self.first[where],
            self.visible[where],
            self.again,
            int(where[: self.consumed].sum()),
        )

    def fresh(self) -> "Opportunities":
        """Those that were not consumed."""
        return self.only(np.arange(len(self)) >= self.consumed) if self.consumed else self

    def with_taken(self, taken: Flags) -> "Opportunities":
        """The same opportunities with other outcomes."""
        return replace(self, taken=taken)

    @classmethod
    def of(
        cls,
        category: Sequence[int] | Integers,
        hazard: Sequence[float] | Floats,
        taken: Sequence[bool] | Flags,
        cell: Sequence[int] | Integers | None = None,
        after_error: Sequence[bool] | Flags | None = None,
        first: Sequence[bool] | Flags | None = None,
        visible: Sequence[bool] | Flags | None = None,
    ) -> "Opportunities":
        """From sequences. Absent: one context, no errors, none first, all visible."""
        n = len(category)
        return cls(
            np.asarray(category, np.int64),
            np.asarray(hazard, np.float64),
            np.asarray(taken, np.bool_),
            np.zeros(n, np.int64) if cell is None else np.asarray(cell, np.int64),
            np.zeros(n, np.bool_) if after_error is None else np.asarray(after_error, np.bool_),
            np.zeros(n, np.bool_) if first is None else np.asarray(first, np.bool_),
            np.ones(n, np.bool_) if visible is None else np.asarray(visible, np.bool_),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose about the tests; each default with its price.

    `mode`: `monitor` alarms at the e-detector (mean run length), `gate` at the e-process (ever).
    `arl`: mean number of trajectories to a false alarm of a subject against one reference, all
    categories together; log(arl) / KL opportunities of delay. `alpha`: error rate of the gate (all
    categories together) and of intervals. `threshold`: log of a calibrated threshold in place of
    the guaranteed one (`run_length.calibrated`); `calibrated`: each reference's own, where it has
    one. `categories`: how many share the budget. `tau`:
    materiality, an excess over the reference that is not worth a page. `delta`: chance that the
    reference's rate is underestimated. `margin`, `margin_rate`: `clear` says that the rate is
    within margin times the reference's, or margin_rate above it. `invisible_share`,
    `unsupported_share`: beyond them the verdict is `blind`.
    """

    mode: Literal["monitor", "gate"] = "monitor"
    arl: float = 5_000.0
    alpha: float = 0.05
    threshold: float | None = None
    calibrated: bool = False
    categories: int = CATEGORIES
    tau: float = 0.2
    delta: float = 0.05
    margin: float = 2.0
    margin_rate: float = 0.01
    invisible_share: float = 0.2
    unsupported_share: float = 0.2
    bets: tuple[Bet, ...] = BETS

    def __post_init__(self) -> None:
        if not (self.arl >= 1 and 0 < self.alpha < 1 and self.categories >= 1):
            raise ValueError("arl >= 1, 0 < alpha < 1 and categories >= 1 are needed")
        if not (self.tau >= 0 and 0 < self.delta <= 0.5 and self.margin > 1 + self.tau):
            raise ValueError("tau >= 0, 0 < delta <= 0.5 and margin > 1 + tau are needed")
        if not self.bets:
            raise ValueError("at least one bet is needed")


def shiryaev_roberts(log_m: Floats, log_increment: Floats, starts: Floats) -> Floats:
    """Log of (M + starts) * increment, elementwise; log M starts at -inf.

    `starts`: steps since the last call, this one included; steps without an increment only add 1;
    0 where the increment is of the last call's step. E[steps to M >= A] >= A under the null.
    Source: Shin, Ramdas & Rinaldo 2022 (e-detectors), definition 2.5 and theorem 2.4.
    """
    with np.errstate(divide="ignore"):
        return np.logaddexp(log_m, np.log(starts)) + log_increment
