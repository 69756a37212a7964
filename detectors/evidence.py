"""The rows of `evidence`: what each trajectory added against one reference."""

from collections.abc import Sequence
from typing import Final

from contracts.labels import CATEGORY_IDS
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Evidence
from detectors.baseline import Reference
from detectors.detector import Update
from detectors.features import ORDERS, STREAM_CATEGORY

OF_ORDERS: Final = STREAM_CATEGORY[ORDERS]
"""The category that both tracks speak of."""


class Columns:
    """An update's arrays as lists, which are read one number at a time."""

    def __init__(self, done: Update) -> None:
        self.n: list[int] = done.n.tolist()
        self.opportunities: list[list[int]] = done.opportunities.tolist()
        self.taken: list[list[int]] = done.taken.tolist()
        self.expected: list[list[float]] = done.expected.tolist()
        self.evidence: list[list[float]] = done.evidence_log10.tolist()


def evidence(
    columns: Sequence[Columns],
    place: int,
    k: int,
    subject: Subject,
    reference: Reference,
    trajectory: Trajectory,
) -> Evidence:
    """The row of the track that speaks of the category; of both, that with the larger statistic."""
    acts, orders = columns
    louder = k == OF_ORDERS and orders.evidence[place][k] > acts.evidence[place][k]
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
