"""Order predicates: what came before a call. They need no plain arguments, only equality of
them.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from detectors.rules import config
from detectors.rules.facts import Facts

Predicate = Callable[[Facts], bool]

_MAX_LOOK_BACK: Final = 500
_MAX_CYCLE: Final = 4
_BACKING_OFF: Final = 1.5
"""Growth of pauses between tries from which they count as backing off."""


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
    """How often this very call failed in a row up to now, itself included; 0 where it did not fail.

    Where arguments were not seen the tool stands for the call. Pauses that grow (each half as long
    again as the one before) are backing off, as a careful client does: 0 as well.
    """
    if not facts.failed:
        return 0
    starts = [facts.call.started_ns]
    for before in reversed(facts.history[-_MAX_LOOK_BACK:]):
        if before.call.tool != facts.call.tool:
            continue
        if not before.failed or before.digest != facts.digest:
            break
        starts.append(before.call.started_ns)
    gaps = [newer - older for newer, older in pairwise(starts)]
    if len(gaps) > 1 and all(newer >= _BACKING_OFF * older > 0 for newer, older in pairwise(gaps)):
        return 0
    return len(starts)


def cycle_reached(facts: Facts, times: int) -> bool:
    """Whether a pattern of two to four different calls has just been made for the `times`th
    time.
    """
    digests = [before.digest for before in facts.history[-_MAX_LOOK_BACK:]]
    digests.append(facts.digest)
    for length in range(2, _MAX_CYCLE + 1):
        needed = length * (times - 1)
        if len(digests) < length * times or len(set(digests[-length:])) < 2:
            continue
        run = 0
        place = len(digests) - 1
        while place >= length and digests[place] == digests[place - length] and run <= needed:
            run += 1
            place -= 1
        if run == needed:
            return True
    return False


def repeat_check(given: config.RepeatCondition) -> Predicate:
    """Whether any of the given counts is reached by this call."""

    def check(facts: Facts) -> bool:
        made = facts.index + 1
        if given.calls and made == given.calls:
            return True
        if given.same_act and made >= given.same_act:
            act = facts.act
            if 1 + sum(before.act == act for before in facts.history) == given.same_act:
                return True
        if (
            given.same_failure
            and facts.failed
            and made >= given.same_failure
            and failures_in_row(facts) == given.same_failure
        ):
            return True
        if given.same_call and made >= given.same_call and same_calls(facts) == given.same_call:
            return True
        return bool(given.cycle and made >= 2 * given.cycle and cycle_reached(facts, given.cycle))

    return check


def _shares(what: config.Shared, facts: Facts, before: Facts) -> bool:
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
            if not (all(_shares(what, facts, before) for what in given.same) and where(before)):
                continue
            if given.absent:
                return False
            count += 1
            if given.at_most and count > given.at_most:
                return False
            if not given.at_most and count >= given.count:
                return True
        return given.absent or count >= given.count

    return check
