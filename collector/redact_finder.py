"""Where the secrets stand in a text: all rules at once, then those that are in it one by one."""

# google-re2 has no type hints; what is used of it is declared below.
# pyright: reportUnknownMemberType=false
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple, Protocol, cast

import re2  # type: ignore[import-untyped]  # no stubs

from collector.redact_keywords import KEYWORD_RULES, Family, KeywordMatch, value_of
from collector.redact_rules import RULES, Rule

STATES_BYTES = 64 << 20
"""Most memory for the states of the automata, which RE2 builds as texts need them; a few MB are."""


MARKER = rb"\[\[(?:secret:[a-z0-9_]{1,32}|digest):[0-9a-f]{16}(?::[a-z0-9]{1,12}){0,3}\]\]"
"""What redaction leaves. Never part of a secret, so that redacting again changes nothing."""


class Secret(NamedTuple):
    """Bytes [first, end) of a text, and the rule that knew them."""

    first: int
    end: int
    rule: str


class _Match(Protocol):
    def span(self, group: int = 0) -> tuple[int, int]: ...


class _Pattern(Protocol):
    @property
    def groupindex(self) -> dict[bytes, int]: ...

    def search(self, text: bytes, pos: int = 0) -> _Match | None: ...


class _Set(Protocol):
    def Add(self, pattern: bytes) -> int: ...

    def Compile(self) -> None: ...

    def Match(self, text: bytes) -> list[int] | None: ...


Locate = Callable[[bytes, _Match], tuple[int, int] | None]


class SecretFinder:
    """Finds secrets in UTF-8 text. Thread-safe.

    Clean text costs one pass of one automaton for all rules, about 1.5 ns a byte however many they
    are. RE2 runs in linear time on any text.
    """

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # patterns and texts are bytes
        options.max_mem = STATES_BYTES
        options.log_errors = False
        self._all = cast(_Set, re2.Set.SearchSet(options))
        self._rules: list[tuple[str, _Pattern, Locate]] = []
        for rule in rules:
            pattern = self._add(rule.pattern, options)
            self._rules.append((rule.name, pattern, partial(_first_group, rule)))
        for keyword in KEYWORD_RULES:
            pattern = self._add(keyword.pattern, options)
            names = {name.decode(): index for name, index in pattern.groupindex.items()}
            self._rules.append(
                (keyword.family, pattern, partial(_keyword_value, keyword.family, names))
            )
        self._all.Compile()
        self._marker = cast(_Pattern, re2.compile(MARKER, options))

    def _add(self, pattern: str, options: object) -> _Pattern:
        self._all.Add(pattern.encode())
        return cast(_Pattern, re2.compile(pattern.encode(), options))

    def holds(self, text: bytes) -> bool:
        """Whether there is any secret in `text`."""
        return any(True for _ in self._each(text))

    def find(self, text: bytes) -> Sequence[Secret]:
        """The secrets in `text`, in order, not overlapping.

        Where two overlap, both are one secret by the name of the one that starts first.
        """
        found = list(self._each(text))
        if len(found) > 1:
            found = _merged(found)
        return _carved(found, self._markers(text)) if found else found

    def _each(self, text: bytes) -> Iterator[Secret]:
        in_it = self._all.Match(text)
        if in_it is None:  # and never an empty list
            return
        markers = self._markers(text)
        for index in in_it:
            name, pattern, locate = self._rules[index]
            at = 0
            while match := pattern.search(text, at):
                first, at = match.span()
                within = bisect_right(markers, (first, len(text))) - 1
                if within >= 0 and first < markers[within][1]:
                    at = markers[within][1]  # a marker's own words tell of nothing
                elif secret := locate(text, match):
                    at = max(at, secret[1])
                    yield Secret(*secret, name)

    def _markers(self, text: bytes) -> Sequence[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        if b"[[" in text:
            while match := self._marker.search(text, found[-1][1] if found else 0):
                found.append(match.span())
        return found


def _first_group(rule: Rule, text: bytes, match: _Match) -> tuple[int, int] | None:
    first, end = match.span(1)
    secret = text[first:end]
    return (first, end) if rule.accept(secret) else None


def _keyword_value(
    family: Family, group: Mapping[str, int], text: bytes, match: _Match
) -> tuple[int, int] | None:
    opening = match.span(group["opening"])
    quoted = opening[0] >= 0
    found = KeywordMatch(
        keyword=match.span(group["keyword"])[0],
        rest=match.span(group["rest"]),
        tight="tight" in group and match.span(group["tight"])[0] >= 0,
        opening=opening if quoted else None,
        value=match.span(group["quoted" if quoted else "bare"])[0],
    )
    return value_of(text, found, family)


def _merged(found: list[Secret]) -> list[Secret]:
    found.sort()
    merged = [found[0]]
    for secret in found[1:]:
        last = merged[-1]
        if secret.first < last.end:
            merged[-1] = Secret(last.first, max(last.end, secret.end), last.rule)
        else:
            merged.append(secret)
    return merged


def _carved(found: list[Secret], markers: Sequence[tuple[int, int]]) -> list[Secret]:
    """The secrets without the markers in them."""
    pieces: list[Secret] = []
    for first, end, rule in found:
        at = first
        for start, stop in markers[max(0, bisect_right(markers, (first, end)) - 1) :]:
            if start >= end:
                break
            if start > at:
                pieces.append(Secret(at, start, rule))
            at = max(at, stop)
        if at < end:
            pieces.append(Secret(at, end, rule))
    return pieces


@cache
def shipped_finder() -> SecretFinder:
    """The finder of the shipped rules; building its automaton takes a moment, so there is one."""
    return SecretFinder()
