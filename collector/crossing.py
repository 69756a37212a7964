"""Calls that several traces of one conversation tell of, as those of interrupted runs."""

from collections import defaultdict
from dataclasses import replace

from collector.asks import CONSIDERED
from collector.drafts import Draft, TraceCalls, better
from collector.identity import match_name
from collector.tree import SKEW_NS
from collector.values import same_arguments

Placed = list[tuple[Draft, TraceCalls]]
"""Drafts with the trace each stands in. Drafts are shared with other assemblies: never changed."""


def join_across(placed: Placed) -> Placed:
    """Each call once: asks joined with executions in other traces, repeated asks left out."""
    ordered = sorted(placed, key=lambda item: (item[0].place[0], item[1].trace_id, item[0].place))
    runs: Placed = []
    asks: Placed = []
    by_id: dict[str, int] = {}
    for draft, trace in ordered:
        if not draft.executed:
            asks.append((draft, trace))
            continue
        known = by_id.get(draft.call_id) if draft.call_id else None
        if known is not None and _is_log(draft) != _is_log(runs[known][0]):
            first, other = runs[known]
            span, log = (first, draft) if _is_log(draft) else (draft, first)
            runs[known] = (_filled(span, log), trace if span is draft else other)
            continue
        if draft.call_id:
            by_id.setdefault(draft.call_id, len(runs))
        runs.append((draft, trace))
    left: Placed = []
    seen: set[str] = set()
    for draft, trace in asks:
        at = by_id.get(draft.call_id) if draft.call_id else None
        if at is not None and match_name(runs[at][0].tool) == match_name(draft.tool):
            runs[at] = (_filled(runs[at][0], draft), runs[at][1])
        elif not draft.call_id or draft.call_id not in seen:
            seen.add(draft.call_id)
            left.append((draft, trace))
    return _join_by_name(runs, left)


def _join_by_name(runs: Placed, asks: Placed) -> Placed:
    """Executions that no model call of their own trace asked for take an earlier trace's ask."""
    waiting: defaultdict[str, Placed] = defaultdict(list)
    for item in asks:
        waiting[match_name(item[0].tool)].append(item)
    for at, (run, trace) in enumerate(runs):
        if run.asked_by is not None or run.call_id:
            continue
        limit = run.place[0] + SKEW_NS
        queue = waiting.get(match_name(run.tool), [])
        usable = [
            item
            for item in queue[:CONSIDERED]
            if item[0].place[0] <= limit and item[1] is not trace
        ]
        same = [item for item in usable if same_arguments(item[0].arguments, run.arguments)]
        illegible = usable if run.arguments_state != "object" else []
        chosen = next(iter(same or illegible), None)
        if chosen is not None:
            queue.remove(chosen)
            runs[at] = (_filled(run, chosen[0]), trace)
    return runs + [item for queue in waiting.values() for item in queue]


def _is_log(draft: Draft) -> bool:
    return draft.fact.span_id.startswith("log:")


def _filled(run: Draft, ask: Draft) -> Draft:
    """A copy of `run` with what only `ask` knows."""
    legible = better(ask.arguments_state, run.arguments_state)
    return replace(
        run,
        call_id=run.call_id or ask.call_id,
        arguments=ask.arguments if legible else run.arguments,
        arguments_state=ask.arguments_state if legible else run.arguments_state,
        asked_by=run.asked_by or ask.asked_by,
        agent=run.agent or ask.agent,
        parent_agent=run.parent_agent or ask.parent_agent,
        model=run.model or ask.model,
        user=run.user or ask.user,
        offered=run.offered or ask.offered,
        description=run.description or ask.description,
        decision=run.decision or ask.decision,
        failed=run.failed or ask.failed,
        error=run.error or ask.error,
    )
