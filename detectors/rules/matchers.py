"""Conditions on what one call is: its tool, commands, statements, requests, files, arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from detectors.parsing.command import Command
from detectors.parsing.files import operands
from detectors.parsing.vocabulary import vocabulary
from detectors.rules import config
from detectors.rules.facts import Facts
from detectors.rules.globs import Test, expand, test
from detectors.rules.triggers import ANY_CALL, named
from detectors.toolmap import Semantics

Sets = Mapping[str, Sequence[str]]


class Hit(NamedTuple):
    """A condition that holds. `evidence`: of `name`, `args`, `outcome`, `order`. `bulk`: many or
    all things of a kind.
    """

    evidence: frozenset[str]
    target: str = ""
    bulk: bool = False


Check = Callable[[Facts], Hit | None]


Possible = Callable[[Semantics], bool]
Bind = Callable[["Compiled", frozenset[str], Semantics], Check | None]


def bind_leaf(condition: "Compiled", keys: frozenset[str], semantics: Semantics) -> Check | None:
    """The condition's own check, None where its triggers say that it cannot hold."""
    return None if keys.isdisjoint(condition.triggers) else condition.check


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition. `triggers`: it can hold only for a call with one of these keys.

    `binder`: see `bind`.
    """

    check: Check
    triggers: frozenset[str]
    binder: Bind = bind_leaf

    def bind(self, keys: frozenset[str], semantics: Semantics) -> Check | None:
        """The check for calls with these keys and semantics, what they decide left out.

        None where it cannot hold for any of them.
        """
        return self.binder(self, keys, semantics)


def bind_some(prefix: str, wanted: Test | None) -> Bind:
    """Binds a leaf only where a key that begins with `prefix` goes on as `wanted` says."""

    def bind(condition: Compiled, keys: frozenset[str], _: Semantics) -> Check | None:
        if keys.isdisjoint(condition.triggers):
            return None
        if wanted is None:
            return condition.check
        rests = (key[len(prefix) :] for key in keys if key.startswith(prefix))
        return condition.check if any(map(wanted, rests)) else None

    return bind


NAME: Final = frozenset({"name"})
ARGS: Final = frozenset({"args"})
OUTCOME: Final = frozenset({"outcome"})
_BY_ARGUMENT: Final = Hit(ARGS)
_BY_NAME: Final = Hit(NAME)
_BULK_FLAGS: Final = vocabulary("r R recursive recurse all A s prune delete")
_MAX_TARGET: Final = 256


def _some(wanted: Test | None, values: Sequence[str]) -> bool:
    return wanted is None or any(map(wanted, values))


def tool(given: config.ToolCondition, sets: Sets) -> Compiled:
    """What the tool does."""
    act, verb = test(given.act, sets), test(given.verb, sets)
    noun, barred = test(given.object, sets), test(given.not_object, sets)

    def possible(known: Semantics) -> bool:
        return not (
            (act is not None and not act(known.act))
            or (verb is not None and not verb(known.verb))
            or known.confidence < given.confidence
            or (given.irreversible is not None and known.irreversible is not given.irreversible)
            or not _some(noun, known.objects)
            or (barred is not None and any(map(barred, known.objects)))
        )

    def check(facts: Facts) -> Hit | None:
        return _BY_NAME if possible(facts.semantics) else None

    triggers = named("act", expand(given.act, sets), ANY_CALL)
    if triggers is ANY_CALL:
        triggers = named("verb", expand(given.verb, sets), ANY_CALL)
    return Compiled(
        check,
        triggers,
        lambda _, keys, semantics: _by_name if possible(semantics) else None,
    )


def _by_name(_: Facts) -> Hit:
    return _BY_NAME


def command(given: config.CommandCondition, sets: Sets) -> Compiled:
    """One shell command."""
    one = _command_test(given, sets)
    outside = test(given.word_outside, sets)
    skip = max((len(text.split()) for text in expand(given.sub, sets)), default=0)

    def check(facts: Facts) -> Hit | None:
        for item in facts.parsed.commands:
            if one(item):
                left = operands(item)[skip:] or item.words
                named_one = (text for text in left if outside is None or not outside(text))
                bulk = bool(item.flags & _BULK_FLAGS) or any("*" in text for text in left)
                return Hit(ARGS, next(named_one, "")[:_MAX_TARGET], bulk)
        return None

    return Compiled(
        check,
        named("program", expand(given.program, sets), frozenset({"command"})),
        bind_some("program:", test(given.program, sets)),
    )


def _command_test(given: config.CommandCondition, sets: Sets) -> Callable[[Command], bool]:
    """Every part of the condition that is given, the cheapest and most telling first."""
    parts: list[Callable[[Command], bool]] = []
    if (program := test(given.program, sets)) is not None:
        parts.append(lambda item: program(item.program))
    if (invoked := test(given.invoked, sets)) is not None:
        parts.append(lambda item: invoked(item.invoked))
    named_subs = [text.split() for text in expand(given.sub, sets)]
    subs = [[test([word], sets) for word in words] for words in named_subs]
    if subs:
        first = test([words[0] for words in named_subs], sets) if all(named_subs) else None
        if first is not None:
            parts.append(lambda item: bool(item.words) and first(item.words[0]))
        if first is None or any(len(words) > 1 for words in named_subs):
            parts.append(lambda item: any(_begins(words, item.words) for words in subs))
    if (flags := test(given.flags, sets)) is not None:
        parts.append(lambda item: any(map(flags, item.flags)))
    if given.all_flags:
        wanted = frozenset(expand(given.all_flags, sets))
        parts.append(lambda item: wanted <= item.flags)
    if (barred := test(given.no_flags, sets)) is not None:
        parts.append(lambda item: not any(map(barred, item.flags)))
    if (word := test(given.word, sets)) is not None:
        parts.append(lambda item: any(map(word, item.words)))
    if (outside := test(given.word_outside, sets)) is not None:
        parts.append(lambda item: any(not outside(text) for text in item.words))
    if (argument := test(given.argument, sets)) is not None:
        parts.append(lambda item: any(map(argument, item.args)))
    if (via := test(given.via, sets)) is not None:
        parts.append(lambda item: any(map(via, item.via)))
    if (source := test(given.pipe_from, sets)) is not None:
        parts.append(lambda item: any(map(source, item.pipe_from)))
    if (sink := test(given.pipe_to, sets)) is not None:
        parts.append(lambda item: any(map(sink, item.pipe_to)))
    if (redirect := test(given.redirect, sets)) is not None:
        parts.append(lambda item: any(map(redirect, item.writes + item.appends)))
    if (assign := test(given.assign, sets)) is not None:
        parts.append(lambda item: any(assign(f"{name}={value}") for name, value in item.assigns))
    if given.words:
        parts.append(lambda item: len(item.words) >= given.words)
    if given.ignored_failure is not None:
        parts.append(lambda item: item.ignored_failure is given.ignored_failure)
    if given.substituted is not None:
        parts.append(lambda item: item.substituted is given.substituted)
    for names, allowed in given.option.items():
        if (value := test(allowed, sets)) is not None:
            parts.append(_option_test(frozenset(names.split("|")), value))
    if len(parts) == 1:
        return parts[0]

    def every(item: Command) -> bool:
        for part in parts:  # noqa: SIM110  # a generator costs more than the parts
            if not part(item):
                return False
        return True

    return every


def _option_test(names: frozenset[str], wanted: Test) -> Callable[[Command], bool]:
    return lambda item: any(name in names and wanted(value) for name, value in item.options)


def _begins(wanted: Sequence[Test | None], words: Sequence[str]) -> bool:
    return len(words) >= len(wanted) and all(
        part is None or part(text) for part, text in zip(wanted, words, strict=False)
    )


def sql(given: config.SqlCondition, sets: Sets) -> Compiled:
    """One SQL statement."""
    kind, noun = test(given.kind, sets), test(given.object, sets)
    column, detail = test(given.column, sets), test(given.detail, sets)

    def check(facts: Facts) -> Hit | None:
        for item in facts.parsed.statements:
            if (
                (kind is None or kind(item.kind))
                and _some(noun, item.objects)
                and _some(column, item.columns)
                and _some(detail, item.details)
                and (given.restricted is None or item.restricted is given.restricted)
            ):
                target = item.objects[0] if item.objects else ""
                return Hit(ARGS, target[:_MAX_TARGET], not item.restricted)
        return None

    return Compiled(check, frozenset({"sql"}), bind_some("sql:", kind))


def http(given: config.HttpCondition, sets: Sets) -> Compiled:
    """One HTTP request."""
    method, host, path = test(given.method, sets), test(given.host, sets), test(given.path, sets)
    outside, graphql = test(given.host_outside, sets), test(given.graphql, sets)

    def check(facts: Facts) -> Hit | None:
        for item in facts.parsed.requests:
            if (
                (given.sends is None or item.sends is given.sends)
                and (given.insecure is None or item.insecure is given.insecure)
                and (given.bare_address is None or item.bare_address is given.bare_address)
                and (method is None or method(item.method))
                and (graphql is None or (bool(item.graphql) and graphql(item.graphql)))
                and (host is None or host(item.host))
                and (outside is None or (bool(item.host) and not outside(item.host)))
                and (path is None or path(item.path))
            ):
                return Hit(ARGS, (item.host + item.path.partition("?")[0])[:_MAX_TARGET])
        return None

    return Compiled(check, frozenset({"http"}))


def code(given: config.CodeCondition, sets: Sets) -> Compiled:
    """One call in executed Python."""
    called, word = test(given.call, sets), test(given.word, sets)

    def check(facts: Facts) -> Hit | None:
        for item in facts.parsed.code:
            if (called is None or called(item.name)) and _some(word, item.words):
                return Hit(ARGS, item.words[0][:_MAX_TARGET] if item.words else "")
        return None

    return Compiled(check, frozenset({"code"}))


def file(given: config.FileCondition, sets: Sets) -> Compiled:
    """One file touched."""
    access, path = test(given.access, sets), test(given.path, sets)
    outside, content = test(given.path_outside, sets), test(given.content, sets)

    def check(facts: Facts) -> Hit | None:
        for item in facts.parsed.files:
            if (
                (access is None or access(item.access))
                and (path is None or path(item.path))
                and (outside is None or not outside(item.path))
                and (content is None or content(item.content))
            ):
                return Hit(ARGS, item.path[:_MAX_TARGET])
        return None

    return Compiled(
        check,
        named("file", expand(given.access, sets), frozenset({"file"})),
        bind_some("file:", access),
    )


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").strip("$€£ "))
    except ValueError:
        return None


def argument(given: config.ArgumentCondition, sets: Sets) -> Compiled:
    """One argument of the tool."""
    name, value = test(given.name, sets), test(given.value, sets)

    def check(facts: Facts) -> Hit | None:
        for leaf in facts.leaves:
            if (name is None or name(leaf.name)) and (value is None or value(leaf.text)):
                if given.over is not None:
                    number = _number(leaf.text)
                    if number is None or not number > given.over:
                        continue
                return _BY_ARGUMENT
        return None

    return Compiled(check, named("argument", expand(given.name, sets), ANY_CALL))


def target(given: config.TargetCondition, sets: Sets) -> Compiled:
    """Targets of the call, enough of them."""
    kind, value, outside = (
        test(given.kind, sets),
        test(given.value, sets),
        test(given.outside, sets),
    )

    def check(facts: Facts) -> Hit | None:
        found = [
            item.value
            for item in facts.targets
            if (kind is None or kind(item.kind))
            and (value is None or value(item.value))
            and (outside is None or not outside(item.value))
        ]
        if not found or len(found) < given.count:
            return None
        return Hit(ARGS, found[0][:_MAX_TARGET])

    return Compiled(check, ANY_CALL)


def result(given: config.ResultCondition, sets: Sets) -> Compiled:
    """What came back."""
    text = test(given.text, sets)

    def check(facts: Facts) -> Hit | None:
        if given.secret is not None and facts.result_has_secret is not given.secret:
            return None
        if text is not None and not text(facts.result_text):
            return None
        return Hit(OUTCOME)

    return Compiled(check, ANY_CALL)
