"""Many verdicts at once: which stand out among all subjects, categories and references."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.verdict import Verdict
from detectors.multiplicity import e_bh

ALPHA: Final = 0.05
"""False discovery rate where nobody asks for another."""


@dataclass(frozen=True, slots=True)
class StandingOut:
    """`tested`: how many verdicts had opportunities. `stands_out`: discoveries, strongest first."""

    alpha: float
    tested: int
    stands_out: tuple[Verdict, ...]


def standing_out(verdicts: Sequence[Verdict], alpha: float = ALPHA) -> StandingOut:
    """e-BH over the e-processes of all verdicts with opportunities, whatever their dependence.

    The e-processes count from each subject's first trajectory on, so a subject stands out only by
    all it ever did; the alarm's own statistic, which restarts, is no e-value. Raises `ValueError`
    for an alpha that is not between 0 and 1.
    """
    tested = [verdict for verdict in verdicts if verdict.opportunities]
    hits = e_bh([verdict.e_value_log10 for verdict in tested], alpha)
    found = [verdict for verdict, hit in zip(tested, hits, strict=True) if hit]
    found.sort(key=lambda verdict: -verdict.e_value_log10)
    return StandingOut(alpha, len(tested), tuple(found))
