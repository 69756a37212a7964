"""Conditions of the rule file format, compiled to functions over `Facts`.

A compiled condition gives a `Hit` (what evidence it used, on what target) or None, and knows its
triggers, so that a call meets few rules.
"""

from collections.abc import Callable, Sequence
from typing import Final

from contracts.errors import RuleError
from detectors.rules import config, matchers, triggers
from detectors.rules.facts import Facts
from detectors.rules.globs import Test, expand, test
from detectors.rules.matchers import ARGS, OUTCOME, Check, Compiled, Hit, Sets
from detectors.rules.order import earlier_check, repeat_check
from detectors.rules.triggers import ANY_CALL
from detectors.toolmap import Semantics

PROVENANCES: Final = (
    "target_from_request",
    "tainted_target",
    "unseen_target",
    "instructed_target",
    "override_language",
)
"""What `provenance` may ask for; also modifiers of actions."""

_ORDER: Final = frozenset({"order"})
_NOTHING: Final = frozenset[str]()


def compile_condition(condition: config.Condition, sets: Sets) -> Compiled:
    """The function and triggers of a condition. Raises `RuleError` where it says nothing."""
    parts = [*_of_call(condition, sets), *_of_moment(condition, sets)]
    parts.extend(compile_condition(child, sets) for child in condition.all)
    if condition.any:
        parts.append(_any([compile_condition(child, sets) for child in condition.any]))
    parts.extend(_of_order(condition, sets))
    barred = [compile_condition(child, sets) for child in condition.none]
    if not parts and not barred:
        raise RuleError("a condition without any key; give it at least one")
    if not barred and len(parts) == 1:
        return parts[0]

    def binder(_: Compiled, keys: frozenset[str], semantics: Semantics) -> Check | None:
        bound: list[Check] = []
        for part in parts:
            one = part.bind(keys, semantics)
            if one is None:
                return None
            bound.append(one)
        bars = [one for bar in barred if (one := bar.bind(keys, semantics)) is not None]
        return _every(bound, bars)

    return Compiled(
        _every([part.check for part in parts], [bar.check for bar in barred]),
        triggers.narrowest([part.triggers for part in parts]),
        binder,
    )


def _every(checks: Sequence[Check], bars: Sequence[Check]) -> Check:
    if len(checks) == 1 and not bars:
        return checks[0]

    def check(facts: Facts) -> Hit | None:
        evidence, target, bulk = _NOTHING, "", False
        for one in checks:
            hit = one(facts)
            if hit is None:
                return None
            evidence, target, bulk = evidence | hit.evidence, target or hit.target, bulk or hit.bulk
        for bar in bars:
            if bar(facts) is not None:
                return None
        return Hit(evidence, target, bulk)

    return check


def holds_any(conditions: Sequence[Compiled], facts: Facts) -> bool:
    """Whether any of the conditions holds for the call."""
    keys = facts.keys
    return any(
        not keys.isdisjoint(item.triggers) and item.check(facts) is not None for item in conditions
    )


def _any(parts: Sequence[Compiled]) -> Compiled:
    def check(facts: Facts) -> Hit | None:
        keys = facts.keys
        for part in parts:
            if not keys.isdisjoint(part.triggers):
                hit = part.check(facts)
                if hit is not None:
                    return hit
        return None

    def binder(_: Compiled, keys: frozenset[str], semantics: Semantics) -> Check | None:
        bound = [one for part in parts if (one := part.bind(keys, semantics)) is not None]
        return _first(bound) if bound else None

    return Compiled(check, triggers.union(part.triggers for part in parts), binder)


def _first(checks: Sequence[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def check(facts: Facts) -> Hit | None:
        for one in checks:
            hit = one(facts)
            if hit is not None:
                return hit
        return None

    return check


def _of_call(condition: config.Condition, sets: Sets) -> list[Compiled]:
    """Parts on what the call is."""
    parts: list[Compiled] = []
    if condition.tool is not None:
        parts.append(matchers.tool(condition.tool, sets))
    if condition.command is not None:
        parts.append(matchers.command(condition.command, sets))
    if condition.sql is not None:
        parts.append(matchers.sql(condition.sql, sets))
    if condition.http is not None:
        parts.append(matchers.http(condition.http, sets))
    if condition.code is not None:
        parts.append(matchers.code(condition.code, sets))
    if condition.file is not None:
        parts.append(matchers.file(condition.file, sets))
    if condition.argument is not None:
        parts.append(matchers.argument(condition.argument, sets))
    if condition.target is not None:
        parts.append(matchers.target(condition.target, sets))
    if condition.secret_argument is not None:
        secret = condition.secret_argument
        parts.append(_flag(lambda facts: facts.sends_secret is secret, ARGS))
    if condition.result is not None:
        parts.append(matchers.result(condition.result, sets))
    return parts


def _of_moment(condition: config.Condition, sets: Sets) -> list[Compiled]:
    """Parts on the call's outcome and surroundings."""
    parts: list[Compiled] = []
    if condition.outcome:
        outcomes = frozenset(condition.outcome)
        parts.append(_flag(lambda facts: facts.call.outcome in outcomes, OUTCOME))
    if (environment := test(condition.environment, sets)) is not None:
        parts.append(_text(environment, lambda facts: (facts.call.environment,)))
    if (offered := test(condition.offered, sets)) is not None:
        parts.append(_text(offered, lambda facts: facts.call.tools_offered))
    if (asked := test(condition.request, sets)) is not None:
        parts.append(_text(asked, lambda facts: (facts.origins.request,)))
    if condition.arguments is not None:
        hidden = condition.arguments == "hidden"
        parts.append(_flag(lambda facts: facts.hidden is hidden, _NOTHING))
    if condition.first is not None:
        first = condition.first
        parts.append(_flag(lambda facts: facts.first is first, _ORDER))
    if condition.denied is not None:
        denied = condition.denied
        parts.append(_flag(lambda facts: facts.denied is denied, OUTCOME))
    if condition.failed is not None:
        failed = condition.failed
        parts.append(_flag(lambda facts: facts.failed is failed, OUTCOME))
    return parts


def _of_order(condition: config.Condition, sets: Sets) -> list[Compiled]:
    """Parts on what came before, the dearest ones."""
    parts: list[Compiled] = []
    if condition.repeated is not None:
        repeated = condition.repeated
        parts.append(
            _flag(lambda facts: facts.repeated is repeated, _ORDER, triggers.of_repeated(repeated))
        )
    if condition.repeats is not None:
        parts.append(
            _flag(repeat_check(condition.repeats), _ORDER, triggers.of_repeats(condition.repeats))
        )
    if condition.earlier is not None:
        where = compile_condition(condition.earlier.where, sets)
        before = earlier_check(condition.earlier, lambda facts: holds_any((where,), facts))
        parts.append(_flag(before, _ORDER, triggers.of_earlier(condition.earlier)))
    if condition.provenance:
        wanted = frozenset(expand(condition.provenance, sets))
        unknown = wanted - set(PROVENANCES)
        if unknown:
            raise RuleError(f"provenance: unknown {sorted(unknown)[0]!r}; of {list(PROVENANCES)}")
        parts.append(_provenance(wanted))
    if condition.discloses is not None:
        parts.append(_disclosure(condition.discloses))
    return parts


def _disclosure(wanted: bool) -> Compiled:
    evidence = ARGS | _ORDER

    def check(facts: Facts) -> Hit | None:
        target = facts.disclosed
        return Hit(evidence, target) if bool(target) is wanted else None

    return Compiled(check, ANY_CALL)


def _flag(
    holds: Callable[[Facts], bool],
    evidence: frozenset[str],
    narrowed: frozenset[str] = ANY_CALL,
) -> Compiled:
    hit = Hit(evidence)
    return Compiled(lambda facts: hit if holds(facts) else None, narrowed)


def _text(wanted: Test, texts: Callable[[Facts], Sequence[str]]) -> Compiled:
    return _flag(lambda facts: any(map(wanted, texts(facts))), _NOTHING)


def _provenance(wanted: frozenset[str]) -> Compiled:
    evidence = ARGS | _ORDER

    def check(facts: Facts) -> Hit | None:
        found = facts.provenance
        return Hit(evidence, found.target) if wanted & found.modifiers else None

    return Compiled(check, ANY_CALL)
