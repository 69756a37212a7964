"""A rule's own cases as calls."""

from functools import lru_cache
from typing import cast

from contracts.span import Value
from contracts.trajectory import ArgumentsState, Call
from detectors.rules import config
from detectors.rules.loading import PACK_FOLDER, read_folders


def case_calls(case: config.Case) -> list[Call]:
    """The calls of a case in order; the last one is what the rule must fire on or not."""
    before = [*case.before, *([case] * case.repeat_before)]
    return [_call(item, step) for step, item in enumerate([*before, case])]


@lru_cache(maxsize=1)
def shipped_calls() -> tuple[Call, ...]:
    """The calls of all cases of the shipped rules."""
    rules = read_folders([PACK_FOLDER]).rules.values()
    cases = (case for rule in rules for case in (*rule.fires, *rule.silent))
    return tuple(call for case in cases for call in case_calls(case))


def _call(case: config.CaseCall, step: int) -> Call:
    """The call of a case at `step`; everything that a case does not say is empty."""
    state = case.arguments_state
    if state is None and case.arguments is None:
        state = "absent"
    elif state is None:
        state = "object" if isinstance(case.arguments, dict) else "text"
    return Call(
        trajectory_id="case",
        step=step,
        trace_id=f"{1:032x}",
        span_id=f"{step + 1:016x}",
        call_id="",
        started_ns=step * 1_000_000_000,
        duration_ns=1_000_000,
        environment=case.environment,
        service="",
        agent="",
        agent_version="",
        parent_agent="",
        model="",
        conversation_id="",
        user_id="",
        tool=case.tool,
        arguments=cast(Value, case.arguments),
        arguments_state=cast(ArgumentsState, state),
        result=cast(Value, case.result),
        outcome=case.outcome,
        error="",
        dialect="",
        source="",
        received_ns=step * 1_000_000_000,
        tools_offered=case.tools_offered,
    )
