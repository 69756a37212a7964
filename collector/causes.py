"""Causes: the order in which calls must have been made, whatever the clocks of their hosts say.

A call comes after the model call that asked for it and inside the call that it was made for; a
model call comes after the calls whose results it was told. As in Lamport's clocks (1978, IR1-2)
each takes the later of its own start and a nanosecond after the latest of its causes; so where
causes say nothing, clocks decide.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from collector.drafts import Draft, Told, TraceCalls
from collector.facts import Fact
from collector.tree import Tree

LATEST_NS = 2**63 - 1

HEARD = 16
"""Results looked at in one model call, the last ones: those before were told to the ones before."""

ORPHAN_NS = 1_800_000_000_000
"""Streams and background work go on when the span around them has ended; a call that begins half an
hour after that is likelier one whose clock is wrong.
"""

Node = TypeVar("Node", bound=Hashable)


def causes_first(nodes: Iterable[Node], causes: Callable[[Node], Sequence[Node]]) -> list[Node]:
    """The nodes and all that caused them, each after its causes; circles are cut."""
    ordered: dict[Node, None] = {}
    begun: set[Node] = set()
    for node in nodes:
        stack = [node]
        while stack:
            top = stack[-1]
            if top not in begun:
                begun.add(top)
                before = [cause for cause in causes(top) if cause not in begun]
                if before:
                    stack += before
                    continue
            ordered[stack.pop()] = None
    return list(ordered)


def settle(tree: Tree, drafts: list[Draft], by_span: Mapping[str, Draft]) -> Told | None:
    """Put the drafts of a trace in the order of their causes and say which clocks contradict it.

    Sets `place`, `timeless` and `back_ns`, and sorts. Returns what the first model call that was
    told anything was told of other traces.
    """
    _Settled(tree, drafts, by_span).apply()
    drafts.sort(key=lambda draft: draft.place)
    first = next((fact for fact in tree.facts if fact.kind == "chat" and fact.answers), None)
    if first is None:
        return None
    own = {"", *(draft.call_id for draft in drafts)}
    told = [answer.call_id for answer in first.answers if answer.call_id not in own]
    return Told(tuple(told[-HEARD:]), first.start_ns, first.end_ns) if told else None


class _Settled:
    def __init__(self, tree: Tree, drafts: list[Draft], by_span: Mapping[str, Draft]) -> None:
        self.tree = tree
        self.drafts = drafts
        self.by_span = by_span
        self.known: dict[Draft | Fact, list[Draft | Fact]] = {}
        self.heard: defaultdict[Fact, list[Draft]] = defaultdict(list)
        self.told_ns: dict[Draft, int] = {}
        """End of the first model call that was told the result."""
        by_id: dict[str, Draft] = {}
        for draft in drafts:
            if draft.call_id:
                by_id.setdefault(draft.call_id, draft)
        for fact in tree.facts:
            if fact.kind != "chat" or not fact.answers:
                continue
            chat = tree.speaker(fact)
            heard = self.heard[chat]
            for answer in fact.answers[-HEARD:]:
                run = by_id.get(answer.call_id) if answer.call_id else None
                # One that asked and was answered within itself is a whole session, or a provider's.
                if run is not None and run.asked_by is not chat:
                    heard.append(run)
                    if chat.end_ns < self.told_ns.get(run, LATEST_NS):
                        self.told_ns[run] = chat.end_ns

    def _causes(self, node: Draft | Fact) -> list[Draft | Fact]:
        known = self.known.get(node)
        if known is None:
            known = self.known[node] = self._found(node)
        return known

    def _found(self, node: Draft | Fact) -> list[Draft | Fact]:
        found: list[Draft | Fact] = []
        if isinstance(node, Fact):
            fact = node
            found += self.heard.get(node, ())
        else:
            fact = node.fact
            if node.asked_by is not None and node.asked_by.kind == "chat":
                found.append(node.asked_by)
        for one in self.tree.above(fact):  # the call that the span was made for
            draft = self.by_span.get(one.span_id)
            if draft is not None and draft is not node:
                found.append(draft)
                break
        return found

    def apply(self) -> None:
        at: dict[Draft | Fact, int] = {}
        nodes: list[Draft | Fact] = [*self.drafts]
        for node in causes_first(nodes, self._causes):
            start = node.start_ns if isinstance(node, Fact) else node.place[0]
            for cause in self._causes(node):
                after = at.get(cause, -1) + 1  # one that closes a circle says nothing
                if after > start:
                    start = after
            at[node] = min(start, LATEST_NS)
        for draft in self.drafts:
            place = draft.place
            draft.timeless = place[0] <= 0
            draft.back_ns = self._contradiction(draft, at[draft] - place[0])
            draft.place = (at[draft], *place[1:])

    def _contradiction(self, draft: Draft, moved_ns: int) -> int:
        """By how much clocks contradict the causes of a call, 0 within what clocks may differ."""
        fact = draft.fact
        start, worst = fact.start_ns, moved_ns
        above = self.tree.above(fact)
        for one in above:
            if one.start_ns - start > worst:
                worst = one.start_ns - start
        if draft.executed:
            worst = max(worst, start - self.told_ns.get(draft, start))
        if above and above[0].end_ns > above[0].start_ns:
            orphaned = start - above[0].end_ns
            worst = max(worst, orphaned if orphaned > ORPHAN_NS else 0)
        return max(fact.back_ns, worst if worst > self.tree.skew_ns else 0)


def settle_across(key: str, traces: Sequence[TraceCalls]) -> dict[str, int]:
    """How much later the calls of each trace, by its id, were made than its clock says: after the
    calls of other traces whose results its model calls were told.
    """
    owners: dict[str, tuple[TraceCalls, int] | None] = {}
    for trace in traces:
        for draft in trace.segments[key].drafts:
            if draft.call_id:  # an id that two traces use tells nothing
                unique = draft.call_id not in owners
                owners[draft.call_id] = (trace, draft.place[0]) if unique else None
    before = {
        trace: [
            owner
            for one in (trace.told.call_ids if trace.told is not None else ())
            if (owner := owners.get(one)) and owner[0] is not trace
        ]
        for trace in traces
    }
    later: dict[str, int] = {}
    for trace in causes_first(traces, lambda one: [other for other, _ in before[one]]):
        after = max(
            (place + later.get(other.trace_id, 0) for other, place in before[trace]), default=0
        )
        told = trace.told
        # one that goes on while other traces do is told of what came after it had begun
        contradicts = told is not None and after > told.end_ns
        later[trace.trace_id] = after + 1 - told.start_ns if told and contradicts else 0
    return later
