"""Trigger keys: what a call has, and what a condition needs one of before it can hold.

They only spare work: a call meets the few rules that share a key with it. `EVERY` is a key of every
call.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from detectors.rules import config
from detectors.rules.facts import Facts
from detectors.rules.globs import is_glob

EVERY: Final = "*"
ANY_CALL: Final = frozenset({EVERY})
LONG: Final = 100
"""From this many calls on a trajectory has the key `long`."""

_BREADTH: Final = {EVERY: 99, "command": 5, "file": 4, "http": 3, "code": 3, "sql": 2}


def keys_of(facts: Facts) -> set[str]:
    """The trigger keys of a call."""
    semantics = facts.semantics
    keys = {EVERY, f"act:{semantics.act}", f"verb:{semantics.verb}"}
    for leaf in facts.leaves:
        keys.add(f"argument:{leaf.name}")
    parsed = facts.parsed
    if parsed.commands:
        keys.add("command")
        keys.update(f"program:{command.program}" for command in parsed.commands)
    if parsed.statements:
        keys.add("sql")
    if parsed.requests:
        keys.add("http")
    if parsed.code:
        keys.add("code")
    if parsed.files:
        keys.add("file")
    if facts.failed:
        keys.add("failed")
    if facts.repeated:
        keys.add("repeated")
    if facts.index:
        if facts.failed_before:
            keys.add("failed before")
        if facts.denied_before:
            keys.add("denied before")
        if facts.index + 1 >= LONG:
            keys.add("long")
    return keys


def named(kind: str, texts: Collection[str], otherwise: frozenset[str]) -> frozenset[str]:
    """Keys `kind:text` for literal texts; `otherwise` where there are none or one is a glob."""
    if not texts or any(map(is_glob, texts)):
        return otherwise
    return frozenset(f"{kind}:{text.lower()}" for text in texts)


def of_repeats(given: config.RepeatCondition) -> frozenset[str]:
    """Triggers of a condition on counts."""
    if given.same_act or 0 < given.calls < LONG:
        return ANY_CALL
    keys = {"long"} if given.calls else set[str]()
    if given.same_call or given.same_failure or given.cycle:
        keys.add("repeated")
    return frozenset(keys) or ANY_CALL


def of_earlier(given: config.EarlierCondition) -> frozenset[str]:
    """Triggers of a condition on earlier calls."""
    if given.absent:
        return ANY_CALL
    if given.where.denied or given.where.outcome == ("denied",):
        return frozenset({"denied before"})
    if given.where.failed:
        return frozenset({"failed before"})
    if "tool" in given.same and "arguments" in given.same:
        return frozenset({"repeated"})
    return ANY_CALL


def narrowest(choices: Sequence[frozenset[str]]) -> frozenset[str]:
    """The triggers that fewest calls meet, of conditions that must all hold."""
    return min(choices, key=_breadth, default=ANY_CALL)


def union(choices: Iterable[frozenset[str]]) -> frozenset[str]:
    """The triggers of conditions of which one must hold."""
    return frozenset[str]().union(*choices)


def _breadth(triggers: frozenset[str]) -> int:
    return max(_BREADTH.get(key, 1) for key in triggers)
