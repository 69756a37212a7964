"""Order predicates: what came before a call. They need no plain arguments, only equality of
them.
"""

from collections.abc import Callable
from typing import Final

from detectors.rules import config
from detectors.rules.facts import Facts

Predicate = Callable[[Facts], bool]

_MAX_LOOK_BACK: Final = 500
_MAX_CYCLE: Final = 4


def same_calls(facts: Facts) -> int:
    """How often this very call (tool and arguments) was made with this very result, itself
    included.

    A poll whose answer changes is progress, so another result ends the count. Calls whose arguments
    were not seen count only if nothing else came between.
    """
    digest, result, count = facts.digest, facts.result_digest, 1
    unseen = facts.call.arguments_state == "absent"
    for before in reversed(facts.history[-_MAX_LOOK_BACK:]):
        if before.digest == digest:
            if before.result_digest != result:
                break
            count += 1
        elif unseen:
            break
    return count


def failures_in_row(facts: Facts) -> int:
    """How often this tool failed in a row up to now, this call included; 0 where it did not
    fail.
    """
    if not facts.failed:
        return 0
    count = 1
    for before in reversed(facts.history[-_MAX_LOOK_BACK:]):
        if before.call.tool != facts.call.tool:
            continue
        if not before.failed:
            break
        count += 1
    return count


def cycles(facts: Facts) -> int:
    """How often a pattern of two to four different calls repeats at the end of the trajectory."""
    digests = [before.digest for before in facts.history[-_MAX_LOOK_BACK:]]
    digests.append(facts.digest)
    best = 1
    for length in range(2, _MAX_CYCLE + 1):
        pattern = digests[-length:]
        if len(pattern) < length or len(set(pattern)) < 2:
            continue
        count, end = 1, len(digests) - length
        while end >= length and digests[end - length : end] == pattern:
            count += 1
            end -= length
        best = max(best, count)
    return best


def repeat_check(given: config.RepeatCondition) -> Predicate:
    """Whether any of the given counts is reached."""

    def check(facts: Facts) -> bool:
        if given.calls and facts.index + 1 >= given.calls:
            return True
        if given.same_act and facts.index + 1 >= given.same_act:
            act = facts.act
            same = 1 + sum(before.act == act for before in facts.history)
            if same >= given.same_act:
                return True
        if (
            given.same_failure
            and facts.failed
            and facts.index + 1 >= given.same_failure
            and failures_in_row(facts) >= given.same_failure
        ):
            return True
        if (
            given.same_call
            and facts.index + 1 >= given.same_call
            and same_calls(facts) >= given.same_call
        ):
            return True
        return bool(
            given.cycle and facts.index + 1 >= 2 * given.cycle and cycles(facts) >= given.cycle
        )

    return check


def _shares(what: str, facts: Facts, before: Facts) -> bool:
    if what == "tool":
        return before.call.tool == facts.call.tool
    if what == "other_tool":
        return before.call.tool != facts.call.tool
    if what == "act":
        return before.act == facts.act
    if what == "arguments":
        return before.digest[1] == facts.digest[1]
    if what == "target":
        mine = {target.value for target in facts.targets}
        return any(target.value in mine for target in before.targets)
    return bool(set(before.semantics.objects) & set(facts.semantics.objects))


def earlier_check(given: config.EarlierCondition, where: Predicate) -> Predicate:
    """Whether enough calls before this one meet `where` and share what must be shared."""

    def check(facts: Facts) -> bool:
        history = facts.history
        window = history[-given.within :] if given.within else history[-_MAX_LOOK_BACK:]
        count = 0
        for before in reversed(window):
            if all(_shares(what, facts, before) for what in given.same) and where(before):
                count += 1
                if count >= given.count:
                    return not given.absent
        return given.absent

    return check
