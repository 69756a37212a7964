"""Label values that are safe, stable and few, whatever agents call themselves."""

import hashlib
import re
from collections.abc import Hashable

MAX_LENGTH = 120
"""Characters of a label value; names beyond it keep their head and gain a digest."""

OTHER = "other"
"""The label value that everything past a limit is counted under."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.:/+@ -]")
"""Quotes, braces, control and direction-changing characters and surrogates among them."""


def clean(text: str, limit: int = MAX_LENGTH) -> str:
    """The text with every character outside `[A-Za-z0-9_.:/+@ -]` replaced by `_`, at most `limit`.

    A text that had to be changed ends in `-` and 8 hex digits of its BLAKE2b digest, so that two
    names that differ only in replaced characters do not share a series. Pure: the same text gives
    the same label in every process.
    """
    safe = _UNSAFE.sub("_", text[:limit])
    if safe == text:
        return safe
    return f"{safe[: limit - 9]}-{_digest(text)}"


def _digest(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=4).hexdigest()


class Slots:
    """A bounded set of label values; each belongs to one name for the life of the process.

    No value is ever taken back: series that come and go cost Prometheus more than series that stay.
    Not thread-safe.
    """

    def __init__(self, limit: int, reserve: int = 0) -> None:
        self._limit = limit
        self._reserve = reserve
        self._labels: dict[Hashable, str] = {}
        self._taken: set[str] = {OTHER}

    def known(self, owner: Hashable) -> str | None:
        """The label that `owner` has; None where it has none."""
        return self._labels.get(owner)

    def get(self, name: str, important: bool = False, owner: Hashable = None) -> str | None:
        """The label of `name`, None where no slot is left.

        `owner`: who has the name, where different ones may have the same; None: the name itself.
        `important` names may use the reserve, so that a flood of invented names cannot hide an
        alarm.
        """
        owner = name if owner is None else owner
        label = self._labels.get(owner)
        if label is not None:
            return label
        limit = self._limit + (self._reserve if important else 0)
        if len(self._labels) >= limit:
            return None
        label = clean(name)
        if label in self._taken:
            # Somebody chose a name that equals another's label; it must not overwrite that series.
            label = f"{label[: MAX_LENGTH - 9]}-{_digest(repr(owner))}"
            if label in self._taken:
                return None
        self._labels[owner] = label
        self._taken.add(label)
        return label
