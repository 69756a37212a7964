"""How values are written on the pages. Text from agents stays text and cannot hide or act."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from contracts.labels import CATEGORIES, Category
from contracts.trajectory import Subject
from telltale.api.models import jsonable

ARGUMENTS_LENGTH = 4_000
"""Characters of arguments or a result on a page; the API has all of it."""

MOST_LOG10 = 6
"""Of a factor that is written out; a larger one says no more to a reader."""

_CATEGORIES = {category.id: category for category in CATEGORIES}
_KEPT = {"\n", "\t"}


def visible(text: object, limit: int = ARGUMENTS_LENGTH) -> str:
    """The text with control, bidirectional and invisible characters spelt out, at most `limit`."""
    source = str(text)
    shown = "".join(
        char
        if char in _KEPT or (unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029")
        else f"[U+{ord(char):04X}]"
        for char in source[:limit]
    )
    more = len(source) - limit
    return shown if more <= 0 else f"{shown} … and {more:,} more characters"


def head(text: str, length: int) -> str:
    """The beginning of an id, enough to tell it from others by eye."""
    return visible(text) if len(text) <= length else visible(text[:length]) + "…"


def document(value: object, limit: int = ARGUMENTS_LENGTH) -> str:
    """A value as indented JSON; a text as it is."""
    if isinstance(value, str):
        return visible(value, limit)
    return visible(json.dumps(jsonable(value), indent=2, ensure_ascii=False), limit)


def moment(time_ns: int | None, seconds: bool = True) -> str:
    """`2026-01-01 09:30:05 UTC`, without `seconds` `2026-01-01 09:30`; `unknown` for None and 0."""
    if not time_ns:
        return "unknown"
    try:
        at = datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (OverflowError, ValueError, OSError):
        return "unknown"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if seconds else f"{at:%Y-%m-%d %H:%M}"


def duration(duration_ns: int) -> str:
    """`350 ms`, `12.0 s`, `4 min`, `3 h`, `2 d`; a negative one is no time that anything took."""
    if duration_ns < 0:
        return "clocks disagree"
    seconds = duration_ns / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for length, unit in ((3_600, "min"), (86_400, "h")):
        if seconds < length:
            return f"{seconds / (60 if unit == 'min' else 3_600):.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def number(value: float | None, digits: int = 1) -> str:
    """With thousands and at most `digits` decimals; `unknown` where there is none."""
    if value is None or not math.isfinite(value):
        return "unknown"
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def factor(log10: float | None) -> str:
    """What evidence is multiplied by, of its log10: `12.5`, `over 10^6`; `unknown` for None."""
    if log10 is None or not math.isfinite(log10):
        return "unknown"
    return number(10**log10) if log10 <= MOST_LOG10 else f"over 10^{MOST_LOG10}"


def percent(value: float | None) -> str:
    """`31 %`, `0.4 %`; `unknown` where there is none."""
    if value is None or not math.isfinite(value):
        return "unknown"
    scaled = value * 100
    return f"{scaled:.0f} %" if scaled >= 10 or scaled == 0 else f"{scaled:.2g} %"


def category(name: str) -> Category:
    """The category by its id; one that is not known has its id as title."""
    known = _CATEGORIES.get(name)
    return known or Category(name, name, (), (), (), "high", False)


def subject_address(subject: Subject) -> str:
    """The page of a subject."""
    return "/subject?" + urlencode(subject._asdict(), errors="replace")


def address(path: str, query: Mapping[str, object]) -> str:
    """A page with its parameters; empty ones are left out."""
    kept = {key: value for key, value in query.items() if value not in ("", None, 0)}
    return path + ("?" + urlencode(kept, errors="replace") if kept else "")
