"""A rule's own cases as calls."""

from typing import cast

from contracts.span import Value
from contracts.trajectory import ArgumentsState, Call
from detectors.rules import config


def case_call(case: config.CaseCall, step: int) -> Call:
    """The call of a case at `step`; everything that a case does not say is empty."""
    state = case.arguments_state
    if state is None:
        kinds = {type(None): "absent", dict: "object"}
        state = kinds.get(type(case.arguments), "text")
    return Call(
        trajectory_id="case",
        step=step,
        trace_id=f"{1:032x}",
        span_id=f"{step + 1:016x}",
        call_id="",
        started_ns=step * 1_000_000_000,
        duration_ns=1_000_000,
        environment="",
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
