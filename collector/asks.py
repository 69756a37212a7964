"""Asks: tool calls in what models said, joined with the spans that executed them."""

from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import islice

from collector import identity
from collector.drafts import Draft, better
from collector.executions import Executions
from collector.facts import Fact
from collector.identity import match_name
from collector.messages import Ask
from collector.tree import CLOCK_SLACK_NS, Tree, same_tool
from collector.values import canonical, same_arguments

CONSIDERED = 50
"""Asks looked at for one span; a loop that asks the same thing for ever must not cost its square.
"""


def join_asks(executions: Executions) -> None:
    """Join the asks of a trace's model calls with their executions; the rest become drafts."""
    asks = _Asks(executions)
    asks.match(asks.collect())
    asks.history()


class _Asks:
    def __init__(self, executions: Executions) -> None:
        self.tree: Tree = executions.tree
        self.drafts = executions.drafts
        self.by_id = executions.by_id
        self.by_span = executions.by_span

    def collect(self) -> list[Draft]:
        """Asks of all model calls, each once, in order."""
        asks: list[Draft] = []
        by_id: dict[str, Draft] = {}
        speakers: list[tuple[Fact, list[Ask]]] = []
        for chat in self.tree.facts:
            if chat.kind != "chat" or not chat.asks:
                continue
            repeated = self._repeated(chat, speakers)
            speakers.append((chat, [ask for ask in chat.asks if not ask.call_id]))
            owner = self.tree.speaker(chat)
            for position, ask in enumerate(chat.asks):
                if identity.is_pseudo_tool(ask.tool, ask.arguments):
                    continue
                tool = identity.tool_name(ask.tool)
                known = by_id.get(ask.call_id) if ask.call_id else None
                draft = self._ask_draft(owner, ask, tool, position, chat)
                if known is not None:
                    known.take(draft)
                    continue
                if not ask.call_id and _take_equal(repeated, ask):
                    continue
                if ask.call_id:
                    by_id[ask.call_id] = draft
                asks.append(draft)
        _empty_arguments(asks)
        return asks

    def _repeated(self, chat: Fact, speakers: list[tuple[Fact, list[Ask]]]) -> list[Ask]:
        """Asks without an id that another instrumentation already told of this model call."""
        above = self.tree.above(chat)
        return [
            ask
            for other, asks in speakers[-20:]
            if other in above
            or (
                other.scope != chat.scope
                and other.start_ns <= chat.end_ns
                and chat.start_ns <= other.end_ns
            )
            for ask in asks
        ]

    def _ask_draft(self, owner: Fact, ask: Ask, tool: str, position: int, chat: Fact) -> Draft:
        return Draft(
            fact=owner,
            place=(max(owner.end_ns, chat.end_ns), 1, owner.span_id, position),
            tool=tool,
            call_id=ask.call_id,
            arguments=ask.arguments,
            arguments_state=ask.arguments_state,
            executed=False,
            end_ns=max(owner.end_ns, chat.end_ns),
            asked_by=owner,
            provider=ask.provider,
        )

    def match(self, asks: list[Draft]) -> None:
        """Join asks with the spans that executed them.

        By call id; else by name and arguments; else by name and order; else by arguments alone,
        where the span bears another name than the model knows (a class, a title).
        """
        left: dict[Draft, None] = {}
        trusted: set[str] = set()
        for ask in asks:
            run = self.by_id.get(ask.call_id) if ask.call_id else None
            if run is not None:
                self._attach(run, ask)
                trusted.add(run.fact.scope)
            else:
                left[ask] = None
        # Where ids of a scope never meet an ask's, they are the SDK's own and tell nothing.
        free = [
            draft
            for draft in self.drafts
            if draft.asked_by is None and not (draft.call_id and draft.fact.scope in trusted)
        ]
        waiting = _Waiting(left)
        refused = self._refused_ids() if left else frozenset[str]()
        for exact in (True, False) if left else ():
            remaining: list[Draft] = []
            for run in free:
                found = self._candidate(run, waiting, exact, refused)
                if found is None:
                    remaining.append(run)
                else:
                    self._attach(run, found)
                    del left[found]
            free = remaining
        for run in free if left else ():
            self._renamed(run, left)
        for ask in left:
            if not self._ran_as_agent(ask):
                self.drafts.append(ask)
        self.drafts.sort(key=lambda draft: draft.place)

    def _renamed(self, run: Draft, left: dict[Draft, None]) -> None:
        """Join a span whose name no model was offered with the one ask of the same arguments."""
        if not isinstance(run.arguments, dict) or not run.arguments or len(left) > CONSIDERED:
            return
        same = [
            ask
            for ask in left
            if self._may_follow(run, ask)
            and same_arguments(ask.arguments, run.arguments)
            and all(match_name(name) != match_name(run.tool) for name, *_ in ask.fact.offered)
        ]
        if len(same) == 1:
            run.tool = same[0].tool
            self._attach(run, same[0])
            del left[same[0]]

    def _refused_ids(self) -> frozenset[str]:
        return frozenset(
            answer.call_id
            for fact in self.tree.facts
            for answer in fact.answers
            if answer.failed and answer.call_id
        )

    def _candidate(
        self, run: Draft, waiting: "_Waiting", exact: bool, refused: frozenset[str]
    ) -> Draft | None:
        usable = [
            ask
            for ask in waiting.first(run, exact)
            if self._may_follow(run, ask) and (exact or run.failed or ask.call_id not in refused)
        ]
        near = [ask for ask in usable if self.tree.under_same_agent(ask.fact, run.fact)]
        chosen = next(iter(near or usable), None)
        if chosen is not None:
            waiting.taken.add(chosen)
        return chosen

    def _may_follow(self, run: Draft, ask: Draft) -> bool:
        """Whether the span began after the ask; one whose clock is behind may have at any time."""
        begun = run.fact.start_ns
        skew = self.tree.skew_ns
        return ask.fact.start_ns <= begun + skew or any(
            one.start_ns > begun + skew for one in self.tree.above(run.fact)
        )

    def _attach(self, run: Draft, ask: Draft) -> None:
        run.asked_by = run.asked_by or ask.asked_by
        if ask.call_id and run.call_id != ask.call_id:
            run.call_id = ask.call_id
            self.by_id.setdefault(ask.call_id, run)
        run.take(ask)

    def _ran_as_agent(self, ask: Draft) -> bool:
        """A delegation whose execution is an agent's span, or a handoff: the ask becomes that."""
        found = self._agent_called(ask) or self._agent_after(ask)
        if found is None:
            return False
        ask.executed = True
        ask.failed = found.failed
        ask.error, ask.error_type = found.error, found.error_type
        ask.end_ns = max(found.end_ns, ask.end_ns)
        self.by_span[found.span_id] = ask
        self.drafts.append(ask)
        return True

    def _agent_called(self, ask: Draft) -> Fact | None:
        """The agent's or handoff's span that the tool's name names."""
        wanted = match_name(ask.tool)
        for fact in self.tree.agents_and_handoffs:
            if fact.start_ns + CLOCK_SLACK_NS < ask.fact.start_ns or fact.span_id in self.by_span:
                continue
            if fact.kind == "agent":
                name = match_name(self.tree.own_name(fact) or fact.label)
                if name and (name == wanted or _hands_to(wanted, name)):
                    return fact
            else:
                target = match_name(fact.target)
                if target and (target in wanted or _hands_to(wanted, target)):
                    return fact
        return None

    def _agent_after(self, ask: Draft) -> Fact | None:
        """The agent's span that runs between the ask and the asker's next model call.

        Only where that ask was the model call's only one and no tool span lies in between.
        """
        asker = ask.fact
        if asker.kind != "chat" or len(asker.asks) != 1:
            return None
        above = self.tree.agent_above(asker)
        if not above or len(self.tree.agents_and_handoffs) < 2:
            return None
        following = [
            chat.start_ns
            for chat in self.tree.facts
            if chat.kind == "chat"
            and chat.start_ns > asker.start_ns
            and self.tree.agent_above(chat) == above
        ]
        until = min(following, default=None)
        if until is None:
            return None
        for fact in self.tree.agents_and_handoffs:
            if (
                fact.kind == "agent"
                and asker.end_ns - CLOCK_SLACK_NS <= fact.start_ns
                and fact.end_ns <= until + CLOCK_SLACK_NS
                and fact.span_id not in self.by_span
                and self.tree.agent_above(fact) == above
                and not any(one.kind == "tool" for one in self._until_agent(fact))
            ):
                return fact
        return None

    def _until_agent(self, fact: Fact) -> list[Fact]:
        between: list[Fact] = []
        for one in self.tree.above(fact):
            if one.kind == "agent":
                break
            between.append(one)
        return between

    def history(self) -> None:
        """Asks known only from an agent's account of its whole run, not from its model calls."""
        speaking = {
            self.tree.agent_above(fact)
            for fact in self.tree.facts
            if fact.kind == "chat" and fact.asks
        }
        known = {draft.call_id for draft in self.drafts if draft.call_id}
        for fact in self.tree.facts:
            if fact.kind == "chat" or fact.span_id in speaking or "" in speaking:
                continue
            clock = fact.start_ns
            for position, ask in enumerate(fact.history):
                if identity.is_pseudo_tool(ask.tool, ask.arguments):
                    continue
                if ask.call_id in known:
                    clock = (
                        max(clock, self.by_id[ask.call_id].end_ns)
                        if ask.call_id in self.by_id
                        else clock
                    )
                    continue
                run = self._unclaimed(ask, fact)
                if run is not None:
                    if ask.call_id:
                        known.add(ask.call_id)
                        run.call_id = ask.call_id
                        self.by_id[ask.call_id] = run
                    if better(ask.arguments_state, run.arguments_state):
                        run.arguments, run.arguments_state = ask.arguments, ask.arguments_state
                    run.asked_by = fact
                    clock = max(clock, run.end_ns)
                elif ask.call_id:
                    known.add(ask.call_id)
                    draft = self._ask_draft(fact, ask, identity.tool_name(ask.tool), position, fact)
                    draft.place = (clock, 1, fact.span_id, position)
                    draft.end_ns = clock
                    if not self._ran_as_agent(draft):
                        self.drafts.append(draft)
                    self.by_id[ask.call_id] = draft
        self.drafts.sort(key=lambda draft: draft.place)

    def _unclaimed(self, ask: Ask, fact: Fact) -> Draft | None:
        same = [
            draft
            for draft in self.drafts
            if draft.executed
            and not draft.call_id
            and draft.asked_by is None
            and same_tool(draft.tool, identity.tool_name(ask.tool))
            and (fact in self.tree.above(draft.fact) or not self.tree.above(fact))
        ]
        exact = [draft for draft in same if same_arguments(draft.arguments, ask.arguments)]
        illegible = [draft for draft in same if draft.arguments_state != "object"]
        return next(iter(exact or illegible), None)


class _Waiting:
    """Asks not joined yet, in order, by tool and by tool and arguments."""

    def __init__(self, asks: Iterable[Draft]) -> None:
        self.taken: set[Draft] = set()
        self._by_tool: defaultdict[str, deque[Draft]] = defaultdict(deque)
        self._by_arguments: defaultdict[tuple[str, bytes], deque[Draft]] = defaultdict(deque)
        for ask in asks:
            name = match_name(ask.tool)
            self._by_tool[name].append(ask)
            self._by_arguments[name, canonical(ask.arguments)].append(ask)

    def first(self, run: Draft, exact: bool) -> list[Draft]:
        """The first asks for the tool of `run`; `exact`: only those with the same arguments."""
        name = match_name(run.tool)
        queue = (
            self._by_arguments.get((name, canonical(run.arguments)))
            if exact
            else self._by_tool.get(name)
        )
        if not queue:
            return []
        while queue and queue[0] in self.taken:
            queue.popleft()
        return [ask for ask in islice(queue, CONSIDERED) if ask not in self.taken]


def _empty_arguments(asks: list[Draft]) -> None:
    """Asks without arguments, in messages that show those of other asks, take none: `{}`."""
    showing = {ask.fact.scope for ask in asks if ask.arguments_state == "object" and ask.arguments}
    for ask in asks:
        if ask.arguments_state == "absent" and ask.fact.scope in showing:
            ask.arguments, ask.arguments_state = {}, "object"


def _hands_to(tool: str, agent: str) -> bool:
    return tool in (
        f"transfer_to_{agent}",
        f"handoff_to_{agent}",
        f"delegate_to_{agent}",
        f"call_{agent}",
    )


def _take_equal(repeated: list[Ask], ask: Ask) -> bool:
    for number, other in enumerate(repeated):
        if same_tool(other.tool, ask.tool) and same_arguments(other.arguments, ask.arguments):
            del repeated[number]
            return True
    return False
