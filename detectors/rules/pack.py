"""The rule pack: loading, self-check, and labelling of trajectories.

`RulePack.label` is a pure function of the calls and the request. What it remembers between calls
(tool names, parsed statements) changes no answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.labels import CATEGORIES, Labels
from contracts.trajectory import Call
from detectors.rules import config
from detectors.rules.cases import case_calls
from detectors.rules.conditions import compile_condition
from detectors.rules.facts import Facts, facts_of
from detectors.rules.labels import TrajectoryLabels
from detectors.rules.loading import PACK_FOLDER, read_folders, rule_error
from detectors.rules.matchers import Check, Compiled
from detectors.rules.triggers import Signature, keys_of, signature_of
from detectors.taint import Origins
from detectors.toolmap import Semantics, ToolMap


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to run. `unless`: conditions any of which silences it."""

    rule: config.Rule
    when: Compiled
    unless: tuple[Compiled, ...]


@dataclass(frozen=True, slots=True)
class CompiledOpportunity:
    """An opportunity rule ready to run."""

    rule: config.OpportunityRule
    when: Compiled
    unless: tuple[Compiled, ...]


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that did not come out as the rule says. `case`: `fires[0]`, `silent[2]`, "" for the
    rule as a whole.
    """

    rule_id: str
    case: str
    message: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What calls of one signature meet."""

    keys: frozenset[str]
    opportunities: tuple[tuple[config.OpportunityRule, Check, tuple[Check, ...]], ...]
    rules: tuple[tuple[config.Rule, Check, tuple[Check, ...]], ...]


_MAX_PLANS: Final = 20_000


class RulePack:
    """Rules and opportunities in force. Build it with `load`."""

    def __init__(
        self,
        rules: Sequence[config.Rule],
        opportunities: Sequence[config.OpportunityRule],
        sets: Mapping[str, Sequence[str]],
        tools: ToolMap | None = None,
    ) -> None:
        self.tools = tools or ToolMap()
        self.rules = tuple(
            _completed(rule) for rule in sorted(rules, key=lambda rule: (rule.category, rule.id))
        )
        self.opportunities = tuple(opportunities)
        self._sets = sets
        self._rules = [
            CompiledRule(rule, *self._compile(rule.id, rule)) for rule in self.rules if rule.enabled
        ]
        self._opportunities = [
            CompiledOpportunity(rule, *self._compile(rule.id, rule))
            for rule in self.opportunities
            if rule.enabled
        ]
        self._plans: dict[Signature, _Plan] = {}

    @classmethod
    def load(cls, folders: Sequence[Path] = (), tools: ToolMap | None = None) -> "RulePack":
        """The shipped pack with the user's `folders` over it; a later rule replaces one of its id.

        Raises `RuleError` with file, rule and key. Rules' own cases are not run; see `check`.
        """
        pack = read_folders([PACK_FOLDER, *folders])
        return cls(list(pack.rules.values()), list(pack.opportunities.values()), pack.sets, tools)

    def digest(self) -> str:
        """Hex SHA-256 of everything that decides labels: rules, opportunities, sets, tool map."""
        content = hashlib.sha256()
        for rule in (*self.rules, *self.opportunities):
            content.update(rule.model_dump_json().encode())
        for name in sorted(self._sets):
            content.update(repr((name, tuple(self._sets[name]))).encode())
        content.update(repr(self.tools.entries).encode())
        return content.hexdigest()

    def _compile(
        self, name: str, rule: config.Rule | config.OpportunityRule
    ) -> tuple[Compiled, tuple[Compiled, ...]]:
        with rule_error(name):
            when = compile_condition(rule.when, self._sets)
            return when, tuple(compile_condition(item, self._sets) for item in rule.unless)

    def label(self, calls: Sequence[Call], request: str = "") -> Labels:
        """Actions and opportunities of one trajectory's calls, given in step order.

        `request`: the user's first message, "" where it was not seen. Never raises for odd content.
        """
        origins = Origins(calls, request)
        trail: list[Facts] = []
        made = TrajectoryLabels()
        seen: dict[tuple[str, bytes], Facts] = {}
        for index, call in enumerate(calls):
            facts = facts_of(call, index, trail, origins, self.tools)
            trail.append(facts)
            equal = seen.setdefault(facts.digest, facts)
            if equal is not facts:
                facts.share(equal)
            plan = self._plan(signature_of(facts))
            facts.keys = plan.keys
            for opportunity, check, unless in plan.opportunities:
                if check(facts) is not None and not any(bar(facts) for bar in unless):
                    made.opportunity(opportunity)
            for rule, check, unless in plan.rules:
                hit = check(facts)
                if hit is not None and not any(bar(facts) for bar in unless):
                    made.action(rule, hit)
            made.end_step(facts)
        return made.labels()

    def semantics(self, call: Call) -> Semantics:
        """What the call's tool does, by the tool map, else by its name and arguments."""
        return facts_of(call, 0, (), Origins([call]), self.tools).semantics

    def _plan(self, signature: Signature) -> "_Plan":
        """The rules that calls with this signature may meet; remembered, which changes nothing."""
        plan = self._plans.get(signature)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            keys = keys_of(signature)
            plan = self._plans[signature] = _Plan(
                keys,
                tuple(
                    (item.rule, *bound)
                    for item in self._opportunities
                    if (bound := _bind(item.when, item.unless, keys, signature)) is not None
                ),
                tuple(
                    (item.rule, *bound)
                    for item in self._rules
                    if (bound := _bind(item.when, item.unless, keys, signature)) is not None
                ),
            )
        return plan

    def check(self) -> list[CaseFailure]:
        """Cases of the rules that fail, and rules without a firing and a silent case. [] is
        good.
        """
        failures: list[CaseFailure] = []
        for rule in self.rules:
            if not rule.enabled:
                continue
            if not rule.fires or not rule.silent:
                failures.append(
                    CaseFailure(rule.id, "", "needs at least one firing and one silent case")
                )
            for kind, cases, wanted in (
                ("fires", rule.fires, True),
                ("silent", rule.silent, False),
            ):
                for number, case in enumerate(cases):
                    if self.fires(rule.id, case) is not wanted:
                        verb = "did not fire" if wanted else "fired"
                        failures.append(CaseFailure(rule.id, f"{kind}[{number}]", verb))
        return failures

    def fires(self, rule_id: str, case: config.Case) -> bool:
        """Whether the rule labels the last call of `case`."""
        calls = case_calls(case)
        labels = self.label(calls, case.request)
        return any(
            action.rule_id == rule_id and action.step == len(calls) - 1 for action in labels.actions
        )


def _completed(rule: config.Rule) -> config.Rule:
    """The rule with its category's severity and framework ids where it gives none of its own."""
    category = next(item for item in CATEGORIES if item.id == rule.category)
    return rule.model_copy(
        update={
            "severity": rule.severity or category.severity,
            "owasp": rule.owasp or category.owasp,
            "atlas": rule.atlas or category.atlas,
            "attack": rule.attack or category.attack,
        }
    )


def _bind(
    when: Compiled, unless: Sequence[Compiled], keys: frozenset[str], signature: Signature
) -> tuple[Check, tuple[Check, ...]] | None:
    """The checks of a rule for calls of a signature, None where it cannot hold for them."""
    check = when.bind(keys, signature.semantics)
    if check is None:
        return None
    bars = (item.bind(keys, signature.semantics) for item in unless)
    return check, tuple(bar for bar in bars if bar is not None)
