"""Acts of a reference that no opportunity rule foresaw, and why they leave a category blind.

Such an act makes its own opportunity, so its rate is 1 in the reference and in every student: the
hazard learned from it is 1, and doing it ten times as often is no evidence. Where many of a
reference's acts are of this kind, silence on the category says nothing.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from contracts.labels import UNFORESEEN, Labels

KEY: Final = "unforeseen"
"""Of the baseline's document."""


class Tally:
    """Visible acts per category, and those of them that nothing foresaw."""

    def __init__(self) -> None:
        self._acts: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()

    def add(self, labels: Labels) -> None:
        """Count the acts of one trajectory."""
        for chance in labels.opportunities:
            if chance.taken and chance.visible:
                self._acts[chance.category] += 1
                self._alone[chance.category] += chance.family == UNFORESEEN

    def to_json(self) -> dict[str, list[int]]:
        """Per category with such acts, [those that nothing foresaw, all]."""
        return {
            category: [count, self._acts[category]]
            for category, count in sorted(self._alone.items())
            if count
        }


def blind_by(document: Mapping[str, Any], category: str, share: float) -> str:
    """Why a reference cannot tell a rise of `category`, "" where it can.

    `share`: of its acts that may be unforeseen.
    """
    alone, acts = document.get(KEY, {}).get(category, (0, 0))
    if alone <= share * acts:
        return ""
    return (
        f"{alone} of the reference's {acts} acts make their own opportunity, so no rise can show;"
        " an opportunity rule must say when they are possible"
    )
