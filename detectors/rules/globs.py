"""Case-insensitive globs as fast predicates, and the named sets (`$name`) they may come from."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from contracts.errors import RuleError

Test = Callable[[str], bool]

_MAX_EXPANSION: Final = 5


def expand(texts: Sequence[str], sets: Mapping[str, Sequence[str]], depth: int = 0) -> list[str]:
    """`texts` with every `$name` replaced by the entries of that set. Raises `RuleError`."""
    found: list[str] = []
    for text in texts:
        if text.startswith("$") and text[1:].replace("_", "").isalnum() and text[1:2].islower():
            if text[1:] not in sets:
                raise RuleError(f"unknown set {text!r}")
            if depth > _MAX_EXPANSION:
                raise RuleError(f"set {text!r} refers to itself")
            found.extend(expand(sets[text[1:]], sets, depth + 1))
        else:
            found.append(text)
    return found


def is_glob(text: str) -> bool:
    """Whether `text` has a wildcard or an escaped one (`\\*`, `\\?`)."""
    return "*" in text or "?" in text


def pattern(text: str) -> str:
    """The regular expression of one glob."""
    parts = {"*": ".*", "?": ".", "\\*": re.escape("*"), "\\?": re.escape("?")}
    return "".join(
        parts.get(part) or re.escape(part) for part in re.findall(r"\\[*?]|.", text, re.DOTALL)
    )


def test(texts: Sequence[str], sets: Mapping[str, Sequence[str]]) -> Test | None:
    """Whether a text matches any of the globs; None where none are given: no constraint."""
    if not texts:
        return None
    expanded = [text.lower() for text in expand(texts, sets)]
    literals = frozenset(text for text in expanded if not is_glob(text))
    globs = [text for text in expanded if is_glob(text)]
    if not globs:
        return lambda value: value.lower() in literals
    matches = re.compile("|".join(f"(?:{pattern(text)})" for text in globs), re.DOTALL).fullmatch
    return lambda value: (lowered := value.lower()) in literals or matches(lowered) is not None
