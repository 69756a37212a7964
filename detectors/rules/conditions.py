"""Conditions of the rule file format, compiled to functions over `Facts`.

A compiled condition gives a `Hit` (what evidence it used, on what target) or None. It also knows
its triggers: keys of a call without any of which it cannot hold, so that a call meets few rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from contracts.errors import RuleError
from detectors.parsing.command import Command
from detectors.rules import config
from detectors.rules.facts import Facts
from detectors.rules.globs import Test, expand, is_glob, test
from detectors.rules.order import earlier_check, repeat_check

Sets = Mapping[str, Sequence[str]]


class Hit(NamedTuple):
    """A condition that holds. `evidence`: of `name`, `args`, `outcome`, `order`. `bulk`: many or
    all things of a kind.
    """

    evidence: frozenset[str]
    target: str = ""
    bulk: bool = False


Check = Callable[[Facts], Hit | None]

NAME: Final = frozenset({"name"})
ARGS: Final = frozenset({"args"})
OUTCOME: Final = frozenset({"outcome"})
ORDER: Final = frozenset({"order"})
NOTHING: Final = frozenset[str]()
ANY_CALL: Final = frozenset({"*"})
_BULK_FLAGS: Final = frozenset(
    {"r", "R", "recursive", "recurse", "all", "A", "s", "prune", "delete"}
)
_BULK_TARGETS: Final = 10


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition. `triggers`: it holds only for a call with one of these keys (`Facts` keys)."""

    check: Check
    triggers: frozenset[str]


def keys_of(facts: Facts) -> set[str]:
    """The trigger keys of a call."""
    keys = {"*", f"act:{facts.act}"}
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
    return keys


def compile_condition(condition: config.Condition, sets: Sets) -> Compiled:
    """The function and triggers of a condition. Raises `RuleError` where it says nothing."""
    parts = list(_atoms(condition, sets))
    for child in condition.all:
        parts.append(compile_condition(child, sets))
    if condition.any:
        parts.append(_any([compile_condition(child, sets) for child in condition.any]))
    barred = [compile_condition(child, sets) for child in condition.none]
    if not parts and not barred:
        raise RuleError("a condition that holds nothing; give it at least one key")
    if not barred and len(parts) == 1:
        return parts[0]
    checks = [part.check for part in parts]
    bars = [part.check for part in barred]

    def check(facts: Facts) -> Hit | None:
        evidence, target, bulk = NOTHING, "", False
        for one in checks:
            hit = one(facts)
            if hit is None:
                return None
            evidence, target, bulk = evidence | hit.evidence, target or hit.target, bulk or hit.bulk
        for bar in bars:
            if bar(facts) is not None:
                return None
        return Hit(evidence, target, bulk)

    return Compiled(check, _narrowest([part.triggers for part in parts]))


def _narrowest(all_triggers: Sequence[frozenset[str]]) -> frozenset[str]:
    """The triggers of the part that fewest calls meet."""

    def breadth(triggers: frozenset[str]) -> int:
        ranks = {"*": 9, "command": 5, "file": 4, "http": 3, "code": 3, "sql": 2, "failed": 4}
        return max(ranks.get(key, 1) for key in triggers)

    return min(all_triggers, key=breadth, default=ANY_CALL)


def _any(parts: Sequence[Compiled]) -> Compiled:
    checks = [part.check for part in parts]

    def check(facts: Facts) -> Hit | None:
        for one in checks:
            hit = one(facts)
            if hit is not None:
                return hit
        return None

    return Compiled(check, frozenset[str]().union(*(part.triggers for part in parts)))


def _atoms(condition: config.Condition, sets: Sets) -> Sequence[Compiled]:
    parts: list[Compiled] = []
    if condition.tool is not None:
        parts.append(_tool(condition.tool, sets))
    if condition.command is not None:
        parts.append(_command(condition.command, sets))
    if condition.sql is not None:
        parts.append(_sql(condition.sql, sets))
    if condition.http is not None:
        parts.append(_http(condition.http, sets))
    if condition.code is not None:
        parts.append(_code(condition.code, sets))
    if condition.file is not None:
        parts.append(_file(condition.file, sets))
    if condition.argument is not None:
        parts.append(_argument(condition.argument, sets))
    if condition.target is not None:
        parts.append(_target(condition.target, sets))
    if condition.result is not None:
        parts.append(_result(condition.result, sets))
    if condition.repeats is not None:
        holds = repeat_check(condition.repeats)
        parts.append(_flag(holds, Hit(ORDER)))
    if condition.earlier is not None:
        where = compile_condition(condition.earlier.where, sets)
        before = earlier_check(condition.earlier, lambda facts: where.check(facts) is not None)
        parts.append(_flag(before, Hit(ORDER)))
    if condition.provenance:
        wanted = frozenset(expand(condition.provenance, sets))
        unknown = wanted - set(PROVENANCES)
        if unknown:
            raise RuleError(f"provenance: unknown {sorted(unknown)[0]!r}; of {list(PROVENANCES)}")
        parts.append(_provenance(wanted))
    if condition.outcome:
        outcomes = frozenset(condition.outcome)
        parts.append(_flag(lambda facts: facts.call.outcome in outcomes, Hit(OUTCOME)))
    if condition.environment:
        environment = test(condition.environment, sets)
        assert environment is not None
        parts.append(_flag(lambda facts: environment(facts.call.environment), Hit(NOTHING)))
    if condition.secret_argument is not None:
        secret = condition.secret_argument
        parts.append(_flag(lambda facts: facts.sends_secret is secret, Hit(ARGS)))
    if condition.offered:
        offered = test(condition.offered, sets)
        assert offered is not None
        parts.append(_flag(lambda facts: any(map(offered, facts.call.tools_offered)), Hit(NOTHING)))
    if condition.request:
        asked = test(condition.request, sets)
        assert asked is not None
        parts.append(_flag(lambda facts: asked(facts.origins.request), Hit(NOTHING)))
    if condition.arguments is not None:
        hidden = condition.arguments == "hidden"
        parts.append(_flag(lambda facts: facts.hidden is hidden, Hit(NOTHING)))
    if condition.first is not None:
        first = condition.first
        parts.append(_flag(lambda facts: facts.first is first, Hit(ORDER)))
    if condition.denied is not None:
        denied = condition.denied
        parts.append(_flag(lambda facts: facts.denied is denied, Hit(OUTCOME)))
    if condition.failed is not None:
        failed = condition.failed
        parts.append(_flag(lambda facts: facts.failed is failed, Hit(OUTCOME)))
    return parts


PROVENANCES: Final = (
    "target_from_request",
    "tainted_target",
    "unseen_target",
    "instructed_target",
    "override_language",
)


def _flag(holds: Callable[[Facts], bool], hit: Hit) -> Compiled:
    return Compiled(lambda facts: hit if holds(facts) else None, ANY_CALL)


def _provenance(wanted: frozenset[str]) -> Compiled:
    def check(facts: Facts) -> Hit | None:
        found = facts.provenance
        if wanted & found.modifiers:
            return Hit(ARGS | ORDER, found.target)
        return None

    return Compiled(check, ANY_CALL)


def _tool(given: config.ToolCondition, sets: Sets) -> Compiled:
    act, verb = test(given.act, sets), test(given.verb, sets)
    noun, barred = test(given.object, sets), test(given.not_object, sets)

    def check(facts: Facts) -> Hit | None:
        known = facts.semantics
        if (
            (act is not None and not act(known.act))
            or (verb is not None and not verb(known.verb))
            or known.confidence < given.confidence
            or (given.irreversible is not None and known.irreversible is not given.irreversible)
            or (noun is not None and not any(map(noun, known.objects)))
            or (barred is not None and any(map(barred, known.objects)))
        ):
            return None
        targets = facts.targets
        return Hit(NAME, targets[0].value if targets else "", len(targets) >= _BULK_TARGETS)

    acts = expand(given.act, sets)
    narrow = bool(acts) and not any(map(is_glob, acts))
    return Compiled(
        check, frozenset(f"act:{name.lower()}" for name in acts) if narrow else ANY_CALL
    )


def _options_test(given: config.CommandCondition, sets: Sets) -> Callable[[Command], bool]:
    wanted = [
        (frozenset(name.split("|")), found)
        for name, texts in given.option.items()
        if (found := test(texts, sets)) is not None
    ]
    return lambda command: all(
        any(name in names and matches(value) for name, value in command.options)
        for names, matches in wanted
    )


def _some(wanted: Test | None, values: Sequence[str]) -> bool:
    return wanted is None or any(map(wanted, values))


def _command(given: config.CommandCondition, sets: Sets) -> Compiled:
    program = test(given.program, sets)
    sub = [part for text in given.sub for part in [[test([word], sets) for word in text.split()]]]
    flags, all_flags = test(given.flags, sets), expand(given.all_flags, sets)
    no_flags = test(given.no_flags, sets)
    word, outside, argument = (
        test(given.word, sets),
        test(given.word_outside, sets),
        test(given.argument, sets),
    )
    via, source, sink = (
        test(given.via, sets),
        test(given.pipe_from, sets),
        test(given.pipe_to, sets),
    )
    redirect, assign = test(given.redirect, sets), test(given.assign, sets)
    invoked = test(given.invoked, sets)
    options = _options_test(given, sets)

    def begins(command: Command) -> bool:
        return not sub or any(
            len(command.words) >= len(parts)
            and all(
                part is None or part(text) for part, text in zip(parts, command.words, strict=False)
            )
            for parts in sub
        )

    def matches(command: Command) -> bool:
        return (
            (program is None or program(command.program))
            and (invoked is None or invoked(command.invoked))
            and begins(command)
            and _some(flags, tuple(command.flags))
            and all(flag in command.flags for flag in all_flags)
            and not (no_flags is not None and any(map(no_flags, command.flags)))
            and _some(word, command.words)
            and (outside is None or any(not outside(text) for text in command.words))
            and _some(argument, command.args)
            and _some(via, command.via)
            and _some(source, command.pipe_from)
            and _some(sink, command.pipe_to)
            and _some(redirect, command.writes + command.appends)
            and _some(assign, tuple(f"{name}={value}" for name, value in command.assigns))
            and len(command.words) >= given.words
            and (given.ignored_failure is None or command.ignored_failure is given.ignored_failure)
            and (given.substituted is None or command.substituted is given.substituted)
            and options(command)
        )

    skip = max((len(parts) for parts in sub), default=0)

    def check(facts: Facts) -> Hit | None:
        for command in facts.parsed.commands:
            if matches(command):
                left = command.words[skip:] or command.words
                target = next((text for text in left if outside is None or not outside(text)), "")
                bulk = bool(command.flags & _BULK_FLAGS) or any("*" in text for text in left)
                return Hit(ARGS, target[:256], bulk)
        return None

    programs = expand(given.program, sets)
    narrow = bool(programs) and not any(map(is_glob, programs))
    return Compiled(
        check,
        frozenset(f"program:{name.lower()}" for name in programs)
        if narrow
        else frozenset({"command"}),
    )


def _sql(given: config.SqlCondition, sets: Sets) -> Compiled:
    kind, noun = test(given.kind, sets), test(given.object, sets)
    column, detail = test(given.column, sets), test(given.detail, sets)

    def check(facts: Facts) -> Hit | None:
        for statement in facts.parsed.statements:
            if (
                (kind is None or kind(statement.kind))
                and _some(noun, statement.objects)
                and _some(column, statement.columns)
                and _some(detail, statement.details)
                and (given.restricted is None or statement.restricted is given.restricted)
            ):
                target = statement.objects[0] if statement.objects else ""
                return Hit(ARGS, target[:256], not statement.restricted)
        return None

    return Compiled(check, frozenset({"sql"}))


def _http(given: config.HttpCondition, sets: Sets) -> Compiled:
    method, host, path = test(given.method, sets), test(given.host, sets), test(given.path, sets)
    outside, graphql = test(given.host_outside, sets), test(given.graphql, sets)

    def check(facts: Facts) -> Hit | None:
        for request in facts.parsed.requests:
            if (
                (method is None or method(request.method))
                and (host is None or host(request.host))
                and (outside is None or (bool(request.host) and not outside(request.host)))
                and (path is None or path(request.path))
                and (graphql is None or (bool(request.graphql) and graphql(request.graphql)))
                and (given.bare_address is None or request.bare_address is given.bare_address)
                and (given.sends is None or request.sends is given.sends)
                and (given.insecure is None or request.insecure is given.insecure)
            ):
                return Hit(ARGS, (request.host + request.path.partition("?")[0])[:256])
        return None

    return Compiled(check, frozenset({"http"}))


def _code(given: config.CodeCondition, sets: Sets) -> Compiled:
    called, word = test(given.call, sets), test(given.word, sets)

    def check(facts: Facts) -> Hit | None:
        for call in facts.parsed.code:
            if (called is None or called(call.name)) and _some(word, call.words):
                return Hit(ARGS, call.words[0][:256] if call.words else "")
        return None

    return Compiled(check, frozenset({"code"}))


def _file(given: config.FileCondition, sets: Sets) -> Compiled:
    access, path = test(given.access, sets), test(given.path, sets)
    outside, content = test(given.path_outside, sets), test(given.content, sets)

    def check(facts: Facts) -> Hit | None:
        for file in facts.parsed.files:
            if (
                (access is None or access(file.access))
                and (path is None or path(file.path))
                and (outside is None or not outside(file.path))
                and (content is None or content(file.content))
            ):
                return Hit(ARGS, file.path[:256])
        return None

    return Compiled(check, frozenset({"file"}))


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").strip("$€£ "))
    except ValueError:
        return None


def _argument(given: config.ArgumentCondition, sets: Sets) -> Compiled:
    name, value = test(given.name, sets), test(given.value, sets)

    def check(facts: Facts) -> Hit | None:
        for leaf in facts.leaves:
            if (name is None or name(leaf.name)) and (value is None or value(leaf.text)):
                if given.over is not None:
                    number = _number(leaf.text)
                    if number is None or not number > given.over:
                        continue
                targets = facts.targets
                return Hit(ARGS, targets[0].value if targets else "")
        return None

    return Compiled(check, ANY_CALL)


def _target(given: config.TargetCondition, sets: Sets) -> Compiled:
    kind, value, outside = (
        test(given.kind, sets),
        test(given.value, sets),
        test(given.outside, sets),
    )

    def check(facts: Facts) -> Hit | None:
        found = [
            target.value
            for target in facts.targets
            if (kind is None or kind(target.kind))
            and (value is None or value(target.value))
            and (outside is None or not outside(target.value))
        ]
        if len(found) < given.count:
            return None
        return Hit(ARGS, found[0][:256] if found else "", len(found) >= _BULK_TARGETS)

    return Compiled(check, ANY_CALL)


def _result(given: config.ResultCondition, sets: Sets) -> Compiled:
    text = test(given.text, sets)

    def check(facts: Facts) -> Hit | None:
        if given.secret is not None and facts.result_has_secret is not given.secret:
            return None
        if text is not None and not text(facts.result_text):
            return None
        return Hit(OUTCOME)

    return Compiled(check, ANY_CALL)
