"""Trigger keys: what a call has, and what a condition needs one of before it can hold.

They only spare work: a call meets the few rules that share a key with it. `EVERY` is a key of every
call.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from detectors.rules import config
from detectors.rules.facts import Facts
from detectors.rules.globs import is_glob
from detectors.toolmap import Semantics

EVERY: Final = "*"
ANY_CALL: Final = frozenset({EVERY})
LONG: Final = 100
"""From this many calls on a trajectory has the key `long`."""

_BREADTH: Final = {
    EVERY: 99,
    "command": 5,
    "file": 4,
    "file:read": 4,
    "file:write": 3,
    "file:delete": 3,
    "http": 3,
    "code": 3,
    "sql": 2,
}


class Signature(NamedTuple):
    """What of a call decides its keys; equal signatures have equal keys."""

    semantics: Semantics
    arguments: tuple[str, ...]
    programs: tuple[str, ...]
    accesses: tuple[str, ...]
    kinds: tuple[str, ...]
    traits: tuple[bool, ...]


_TRAITS: Final = (
    "command",
    "sql",
    "http",
    "code",
    "file",
    "failed",
    "repeated",
    "failed before",
    "denied before",
    "long",
)


def signature_of(facts: Facts) -> Signature:
    """The signature of a call."""
    parsed = facts.parsed
    return Signature(
        facts.semantics,
        tuple(dict.fromkeys(leaf.name for leaf in facts.leaves)),
        tuple(dict.fromkeys(command.program for command in parsed.commands)),
        tuple(dict.fromkeys(file.access for file in parsed.files)),
        tuple(dict.fromkeys(statement.kind for statement in parsed.statements)),
        (
            bool(parsed.commands),
            bool(parsed.statements),
            bool(parsed.requests),
            bool(parsed.code),
            bool(parsed.files),
            facts.failed,
            facts.repeated,
            facts.failed_before,
            facts.denied_before,
            facts.index + 1 >= LONG,
        ),
    )


def keys_of(signature: Signature) -> frozenset[str]:
    """The trigger keys of calls with this signature."""
    semantics = signature.semantics
    return frozenset(
        (
            EVERY,
            f"act:{semantics.act}",
            f"verb:{semantics.verb}",
            *(f"argument:{name}" for name in signature.arguments),
            *(f"program:{name}" for name in signature.programs),
            *(f"file:{access}" for access in signature.accesses),
            *(f"sql:{kind}" for kind in signature.kinds),
            *(name for name, held in zip(_TRAITS, signature.traits, strict=True) if held),
        )
    )


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


def of_repeated(repeated: bool) -> frozenset[str]:
    """Triggers of a condition on whether an equal call came before."""
    return frozenset({"repeated"}) if repeated else ANY_CALL


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
