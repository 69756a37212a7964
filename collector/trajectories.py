"""Trajectories out of the calls of their traces: joined across traces, ordered, numbered."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from collector.causes import LATEST_NS, settle_across
from collector.crossing import Placed, join_across
from collector.drafts import Draft, TraceCalls
from collector.identity import match_name
from collector.messages import Answer
from collector.outcomes import flat, outcome_of_failure, refusal, says_failed, says_refused
from collector.results import tells_more
from collector.tree import SKEW_NS
from collector.values import text_of
from contracts.trajectory import Call, Outcome, Trajectory

_SENTENCE = re.compile(r"[.;\n]")
_DENIES = re.compile(r"den(?:y|ied)|reject|block|refus|disallow|cancel|forbid|^false$|^no$", re.I)

CALLS_WITH_NOTHING = 3
"""So many calls of several tools, all with `{}`, mean hidden values: some SDKs write that."""


def build(
    key: str,
    traces: Sequence[TraceCalls],
    state: Literal["open", "complete", "reopened"],
    judged: int,
) -> Trajectory:
    """The trajectory `key` out of the traces that have a part in it; a function of their set."""
    ordered = sorted(traces, key=lambda trace: (trace.started_ns, trace.trace_id))
    segments = [trace.segments[key] for trace in ordered]
    answers: dict[str, Answer] = {}
    for trace in ordered:
        for call_id, answer in trace.answers.items():
            known = answers.setdefault(call_id, answer)
            if tells_more(answer.content, known.content):
                answers[call_id] = answer
    placed = [
        (draft, trace)
        for trace, segment in zip(ordered, segments, strict=True)
        for draft in segment.drafts
    ]
    later: Mapping[str, int] = {}
    if len(ordered) > 1:
        later = settle_across(key, ordered)
        placed = join_across(placed)
    starts = {id(draft): draft.place[0] + later.get(trace.trace_id, 0) for draft, trace in placed}
    placed.sort(key=lambda item: (starts[id(item[0])], item[1].trace_id, item[0].place[1:]))
    first = segments[0]
    leading = min(
        ordered,
        key=lambda trace: (not trace.named, not trace.agent, trace.started_ns, trace.trace_id),
    )
    agent = leading.agent or first.service
    hidden = _hidden(placed)
    has_spans = any(trace.has_spans for trace in ordered)
    models = _models(ordered)
    calls = tuple(
        _call(
            key,
            step,
            draft,
            starts[id(draft)],
            trace,
            agent,
            models[trace.trace_id],
            first.conversation,
            answers,
            hidden,
            has_spans,
        )
        for step, (draft, trace) in enumerate(placed)
    )
    return Trajectory(
        trajectory_id=key,
        grouped_by="conversation" if first.conversation else "trace",
        environment=first.environment,
        service=first.service,
        agent=agent,
        agent_version=leading.version or next((t.version for t in ordered if t.version), ""),
        model=leading.model or next((t.model for t in ordered if t.model), ""),
        conversation_id=first.conversation,
        user_id=next((t.user for t in ordered if t.user), ""),
        started_ns=min(trace.started_ns for trace in ordered),
        ended_ns=max(trace.ended_ns for trace in ordered),
        last_received_ns=max(trace.received_ns for trace in ordered),
        state=state,
        request=next((trace.request for trace in ordered if trace.request), ""),
        trace_ids=tuple(sorted({t.trace_id for t in ordered if not t.trace_id.startswith("log:")})),
        judged_calls=judged,
        calls=calls,
    )


def _models(ordered: Sequence[TraceCalls]) -> dict[str, str]:
    """Model by trace id: the trace's own, else of the last trace before that has one.

    Where each model call is a trace of its own, tool spans stand in traces without a model.
    """
    models: dict[str, str] = {}
    last = next((trace.model for trace in ordered if trace.model), "")
    for trace in ordered:
        last = trace.model or last
        models[trace.trace_id] = last
    return models


def _hidden(placed: Placed) -> frozenset[str]:
    """Which of `arguments` and `results` are hidden."""
    with_results = [draft for draft, _ in placed if draft.has_result]
    return frozenset(
        what
        for what, drafts, values in (
            ("arguments", [draft for draft, _ in placed], [one.arguments for one, _ in placed]),
            ("results", with_results, [draft.result for draft in with_results]),
        )
        if len(drafts) >= CALLS_WITH_NOTHING
        and len({draft.tool for draft in drafts}) > 1
        and all(value == {} for value in values)
    )


def _call(
    key: str,
    step: int,
    draft: Draft,
    start_ns: int,
    trace: TraceCalls,
    top_agent: str,
    model: str,
    conversation: str,
    answers: dict[str, Answer],
    hidden: frozenset[str],
    has_spans: bool,
) -> Call:
    fact = draft.fact
    answer = answers.get(draft.call_id) if draft.call_id else None
    if answer is None:
        answer = draft.answer
    outcome, error = _outcome(draft, answer, has_spans)
    if outcome in ("error", "denied") and _lacks_required(draft) and not draft.decision:
        outcome = "invalid_arguments"
    result = None if draft.result == {} and "results" in hidden else draft.result
    if answer is not None and tells_more(answer.content, result):
        result = answer.content
    agent = draft.agent or top_agent
    parent = draft.parent_agent or (top_agent if draft.delegated and agent != top_agent else "")
    return Call(
        trajectory_id=key,
        step=step,
        trace_id=fact.trace_id,
        span_id="" if fact.span_id.startswith("log:") else fact.span_id,
        call_id=draft.call_id,
        started_ns=0 if draft.timeless else min(start_ns, LATEST_NS),
        duration_ns=_duration(draft, start_ns),
        environment=fact.environment,
        service=fact.service,
        agent=agent,
        agent_version=draft.version or trace.version,
        parent_agent=parent,
        model=draft.model or model,
        conversation_id=conversation,
        user_id=draft.user,
        tool=draft.tool,
        arguments=None if "arguments" in hidden else draft.arguments,
        arguments_state="absent" if "arguments" in hidden else draft.arguments_state,
        result=result,
        outcome=outcome,
        error=error,
        dialect=fact.dialect,
        source=fact.source,
        received_ns=fact.received_ns,
        tool_description=draft.description,
        tools_offered=tuple(one.name for one in draft.offered),
    )


def _duration(draft: Draft, start_ns: int) -> int:
    """Negative where clocks contradict what caused the call, by as much."""
    moved = start_ns - draft.place[0]
    back = max(draft.back_ns, moved if moved > SKEW_NS else 0)
    return -back if back else max(0, draft.end_ns - draft.place[0])


def _lacks_required(draft: Draft) -> bool:
    """Whether a call that failed lacked a parameter that its tool requires."""
    given = draft.arguments
    if not isinstance(given, dict):
        return False
    needed = draft.required
    if not needed:
        wanted = match_name(draft.tool)
        needed = next((one.required for one in draft.offered if match_name(one.name) == wanted), ())
    return any(name not in given for name in needed)


def _outcome(draft: Draft, answer: Answer | None, has_spans: bool) -> tuple[Outcome, str]:
    content = answer.content if answer is not None else None
    words = flat(content)
    if draft.decision and _DENIES.search(draft.decision):
        return "denied", draft.error or words
    if not draft.executed:
        return _outcome_of_ask(draft, answer, words, has_spans)
    if draft.failed:
        outcome = outcome_of_failure(
            draft.error or flat(draft.result), draft.error_type, draft.tool
        )
        if outcome == "error":
            outcome = (
                says_refused(draft.result)
                or refusal(flat(draft.result))
                or refusal(words)
                or "error"
            )
        return outcome, draft.error or text_of(draft.result) or words
    refused = says_refused(draft.result)
    if not refused and answer is not None and (not draft.has_result or draft.result == ""):
        refused = refusal(words, loose=not draft.has_result)
    if refused:
        return refused, flat(draft.result) or words
    if answer is not None and answer.failed:
        return refusal(words) or "error", words
    if isinstance(draft.result, dict) and draft.result.get("is_error") is True:
        return refusal(flat(draft.result)) or "error", flat(draft.result)
    if not draft.has_result and draft.siblings_told and answer is not None and text_of(content):
        # The model was told something that this span, unlike its siblings, did not return.
        return ("error" if says_failed(content) else "denied"), words
    if draft.stopped and not draft.has_result and answer is None:
        return "denied", ""
    return "ok", ""


def _outcome_of_ask(
    draft: Draft, answer: Answer | None, words: str, has_spans: bool
) -> tuple[Outcome, str]:
    """The outcome of a call without a span of its own (CONVENTIONS 0.5)."""
    wanted = match_name(draft.tool)
    missing = bool(draft.offered) and all(match_name(name) != wanted for name, *_ in draft.offered)
    if answer is None:
        if draft.provider:
            return "ok", ""
        told = refusal(draft.step_error, tool=draft.tool)
        if told:
            return told, draft.step_error
        return ("unknown_tool", "") if missing else ("unknown", "")
    refused = refusal(words, tool=draft.tool, loose=has_spans or bool(answer.failed))
    if not refused and isinstance(answer.content, str):
        # Where only models speak, the first words of an answer that is text must do.
        refused = refusal(_SENTENCE.split(words, 1)[0], tool=draft.tool, loose=True)
    if refused:
        return refused, words
    if missing and not draft.provider:
        return "unknown_tool", words
    failed = bool(answer.failed) or says_failed(answer.content)
    if has_spans and not draft.provider:
        # This SDK records executions, and the model was answered without one: it never ran,
        # unless the answer is data, as of a tool that runs elsewhere.
        if not failed and isinstance(answer.content, (dict, list)):
            return "ok", ""
        return ("error" if failed and not answer.failed else "denied"), words
    return ("error", words) if failed else ("ok", "")
