"""The calls of one trace: tool spans and asks joined, each execution counted once."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.span import Value
from contracts.trajectory import ArgumentsState

from collector import identity
from collector.facts import Fact
from collector.identity import match_name
from collector.messages import Answer, Ask
from collector.tree import CLOCK_SLACK_NS, Tree, same_tool
from collector.values import same_arguments

Place = tuple[int, int, str, int]
"""Sort key within a trace: start, 0 for spans and 1 for bare asks, span id, position of the ask."""


@dataclass(slots=True)
class Draft:
    """A call before its trajectory is known. `executed`: a span stands for its execution.
    `stopped`: the run ended at this call, without a result. `step_error`: failure of the step in
    which the model asked for it.
    """

    fact: Fact
    place: Place
    tool: str
    call_id: str
    arguments: Value
    arguments_state: ArgumentsState
    executed: bool
    result: Value = None
    has_result: bool = False
    failed: bool = False
    error: str = ""
    error_type: str = ""
    decision: str = ""
    description: str = ""
    end_ns: int = 0
    asked_by: Fact | None = None
    provider: bool = False
    agent: str = ""
    parent_agent: str = ""
    delegated: bool = False
    model: str = ""
    version: str = ""
    user: str = ""
    offered: tuple[tuple[str, str], ...] = ()
    answer: Answer | None = None
    stopped: bool = False
    step_error: str = ""
    key: str = ""

    def take(self, other: "Draft") -> None:
        """Fill in what another span of the same call knows."""
        if _better(other.arguments_state, self.arguments_state):
            self.arguments, self.arguments_state = other.arguments, other.arguments_state
        self.call_id = self.call_id or other.call_id
        if not self.has_result and other.has_result:
            self.result, self.has_result = other.result, True
        self.failed = self.failed or other.failed
        self.error = self.error or other.error
        if other.error_type and other.error_type not in self.error_type:
            self.error_type = f"{self.error_type} {other.error_type}".strip()
        self.decision = self.decision or other.decision
        self.description = self.description or other.description


_LEGIBLE: Mapping[ArgumentsState, int] = {
    "object": 5,
    "truncated": 3,
    "text": 2,
    "invalid": 2,
    "redacted": 1,
    "absent": 0,
}


def _better(one: ArgumentsState, other: ArgumentsState) -> bool:
    return _LEGIBLE[one] > _LEGIBLE[other]


@dataclass(slots=True)
class Segment:
    """The part of a trace that belongs to one trajectory, and what it says of the whole."""

    key: str
    environment: str
    service: str
    conversation: str
    drafts: list[Draft] = field(default_factory=list[Draft])


@dataclass(slots=True)
class TraceCalls:
    """All a trace says, independent of other traces. `answers`: by call id."""

    trace_id: str
    segments: dict[str, Segment]
    answers: dict[str, Answer]
    request: str
    agent: str
    version: str
    model: str
    user: str
    started_ns: int
    ended_ns: int
    received_ns: int
    has_spans: bool
    named: bool


def resolve(
    trace_id: str, facts: Mapping[str, Fact], links: Mapping[str, str]
) -> TraceCalls | None:
    """The calls of a trace, None for a trace without agents. A function of the set of its facts."""
    spoken = [fact for fact in facts.values() if fact.kind not in ("link", "chain")]
    if not any(fact.kind in ("tool", "chat", "agent") or fact.tool for fact in spoken):
        return None
    tree = Tree(facts.values(), links)
    return _Resolver(trace_id, tree).resolve()


class _Resolver:
    def __init__(self, trace_id: str, tree: Tree) -> None:
        self.trace_id = trace_id
        self.tree = tree
        self.by_span: dict[str, Draft] = {}
        self.by_id: dict[str, Draft] = {}
        self.drafts: list[Draft] = []

    def resolve(self) -> TraceCalls:
        tree = self.tree
        self._tools()
        asks = self._asks()
        self._parts()
        self._match(asks)
        self._history()
        answers = self._answers()
        self._identify()
        active = [f for f in tree.facts if f.kind not in ("link",)]
        segments = self._segments()
        top = tree.top_agent()
        named = tree.own_name(top) if top is not None else ""
        first = self.drafts[0] if self.drafts else None
        anchor = top or (first.fact if first else active[0])
        agent = named or (first.agent if first is not None and top is None else "")
        model = tree.model(anchor, None) if top is not None else (first.model if first else "")
        if top is not None and not top.model:
            under = [f for f in tree.facts if f.kind == "chat" and f.model and top in tree.above(f)]
            if under:
                model = min(under, key=lambda f: (len(tree.above(f)), f.start_ns, f.span_id)).model
        if not model:
            model = next((f.model for f in tree.facts if f.model and f.kind != "link"), "")
        asked = [f for f in active if f.request]
        return TraceCalls(
            trace_id=self.trace_id,
            segments=segments,
            answers=answers,
            request=min(asked, key=lambda f: (f.start_ns, len(tree.above(f)), f.span_id)).request
            if asked
            else "",
            agent=agent,
            version=tree.version(anchor),
            model=model,
            user=tree.user(anchor),
            started_ns=min(f.start_ns for f in active),
            ended_ns=max(f.end_ns for f in active),
            received_ns=max(f.received_ns for f in active),
            has_spans=any(draft.executed for draft in self.drafts),
            named=bool(named),
        )

    # --- tool spans -------------------------------------------------------------------------

    def _tools(self) -> None:
        for fact in self.tree.facts:
            if fact.kind != "tool":
                continue
            draft = Draft(
                fact=fact,
                place=(fact.start_ns, 0, fact.span_id, 0),
                tool=fact.tool,
                call_id=fact.call_id,
                arguments=fact.arguments,
                arguments_state=fact.arguments_state,
                executed=not _deferred(fact.decision),
                result=fact.result,
                has_result=fact.has_result,
                failed=fact.failed,
                error=fact.error,
                error_type=fact.error_type,
                decision=fact.decision,
                description=fact.description,
                end_ns=fact.end_ns,
            )
            twin = self._nested_in(fact) or self.by_id.get(fact.call_id) or self._sibling_of(fact)
            if twin is not None:
                twin.take(draft)
                twin.executed = twin.executed or draft.executed
                self.by_span[fact.span_id] = twin
                draft = twin
            else:
                self.drafts.append(draft)
                self.by_span[fact.span_id] = draft
            if draft.call_id:
                self.by_id.setdefault(draft.call_id, draft)

    def _nested_in(self, fact: Fact) -> Draft | None:
        """The outer span of the same call: MCP client and server, wrappers (CONVENTIONS 0.4)."""
        for one in self.tree.above(fact):
            if one.kind in ("agent", "chat"):
                return None
            if one.kind == "tool":
                outer = self.by_span.get(one.span_id)
                if outer is None:
                    continue
                same_id = fact.call_id == outer.call_id or not (fact.call_id and outer.call_id)
                if same_id and (
                    same_tool(one.tool, fact.tool)
                    or (fact.call_id and fact.call_id == outer.call_id)
                ):
                    return outer
        return None

    def _sibling_of(self, fact: Fact) -> Draft | None:
        """The same call as another instrumentation saw it: other scope, same tool, same time."""
        for draft in reversed(self.drafts[-50:]):
            other = draft.fact
            if (
                other.scope != fact.scope
                and other.service == fact.service
                and other.end_ns >= fact.start_ns
                and fact.end_ns >= other.start_ns
                and same_tool(other.tool, fact.tool)
                and (not draft.call_id or not fact.call_id)
                and _compatible(fact, draft)
            ):
                return draft
        return None

    # --- asks -------------------------------------------------------------------------------

    def _asks(self) -> list[Draft]:
        """Asks of all model calls, each once, in order."""
        asks: list[Draft] = []
        by_id: dict[str, Draft] = {}
        speakers: list[tuple[Fact, list[Ask]]] = []
        for chat in self.tree.facts:
            if chat.kind != "chat" or not chat.asks:
                continue
            repeated = self._repeated(chat, speakers)
            speakers.append((chat, [ask for ask in chat.asks if not ask.call_id]))
            owner = self._speaker(chat)
            for position, ask in enumerate(chat.asks):
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

    def _speaker(self, chat: Fact) -> Fact:
        """The model call a log record belongs to, else the fact itself."""
        if chat.span_id.startswith("log:"):
            above = self.tree.above(chat)
            if above and above[0].kind == "chat":
                return above[0]
        return chat

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

    def _match(self, asks: list[Draft]) -> None:
        """Join asks with the spans that executed them: by id, else by name, arguments and order."""
        left: list[Draft] = []
        shared = any(ask.call_id in self.by_id for ask in asks if ask.call_id)
        free = [draft for draft in self.drafts]
        for ask in asks:
            run = self.by_id.get(ask.call_id) if ask.call_id else None
            if run is not None:
                self._attach(run, ask)
            else:
                left.append(ask)
        free = [
            draft for draft in free if draft.asked_by is None and (not draft.call_id or not shared)
        ]
        by_tool: defaultdict[str, list[Draft]] = defaultdict(list)
        for ask in left:
            by_tool[match_name(ask.tool)].append(ask)
        refused = self._refused_ids()
        for exact in (True, False):
            remaining: list[Draft] = []
            for run in free:
                found = self._candidate(run, by_tool, exact, refused)
                if found is None:
                    remaining.append(run)
                else:
                    self._attach(run, found)
                    left.remove(found)
            free = remaining
        for ask in left:
            if not self._ran_as_agent(ask):
                self.drafts.append(ask)
        self.drafts.sort(key=lambda draft: draft.place)

    def _refused_ids(self) -> frozenset[str]:
        return frozenset(
            answer.call_id
            for fact in self.tree.facts
            for answer in fact.answers
            if answer.failed and answer.call_id
        )

    def _candidate(
        self, run: Draft, by_tool: dict[str, list[Draft]], exact: bool, refused: frozenset[str]
    ) -> Draft | None:
        asks = by_tool.get(match_name(run.tool))
        if not asks:
            return None
        limit = run.fact.start_ns + CLOCK_SLACK_NS
        usable = [ask for ask in asks if ask.fact.start_ns <= limit]
        if exact:
            usable = [ask for ask in usable if same_arguments(ask.arguments, run.arguments)]
        else:
            usable = [ask for ask in usable if run.failed or ask.call_id not in refused]
        if not usable:
            return None
        near = [ask for ask in usable if self.tree.under_same_agent(ask.fact, run.fact)]
        chosen = (near or usable)[0]
        asks.remove(chosen)
        return chosen

    def _attach(self, run: Draft, ask: Draft) -> None:
        run.asked_by = run.asked_by or ask.asked_by
        if ask.call_id and run.call_id != ask.call_id:
            run.call_id = ask.call_id
            self.by_id.setdefault(ask.call_id, run)
        run.take(ask)

    def _ran_as_agent(self, ask: Draft) -> bool:
        """A delegation whose execution is an agent's span, or a handoff: the ask becomes that."""
        wanted = match_name(ask.tool)
        for fact in self.tree.facts:
            if fact.start_ns + CLOCK_SLACK_NS < ask.fact.start_ns or fact.span_id in self.by_span:
                continue
            if fact.kind == "agent":
                name = match_name(self.tree.own_name(fact) or fact.label)
                if not name or (name != wanted and not _hands_to(wanted, name)):
                    continue
            elif fact.kind == "handoff":
                target = match_name(fact.target)
                if not target or (target not in wanted and not _hands_to(wanted, target)):
                    continue
            else:
                continue
            ask.executed = True
            ask.failed = fact.failed
            ask.error, ask.error_type = fact.error, fact.error_type
            ask.end_ns = max(fact.end_ns, ask.end_ns)
            self.by_span[fact.span_id] = ask
            self.drafts.append(ask)
            return True
        return False

    # --- reports, histories, answers --------------------------------------------------------

    def _parts(self) -> None:
        """Reports about a tool span: its children, and log records by call id."""
        for fact in self.tree.facts:
            if fact.kind != "part" or not (fact.call_id or fact.decision or fact.failed):
                continue
            draft = self.by_id.get(fact.call_id) if fact.call_id else None
            if draft is None:
                above = self.tree.above(fact)
                nearest = next((one for one in above if one.kind == "tool"), None)
                draft = self.by_span.get(nearest.span_id) if nearest is not None else None
                if draft is not None and fact.call_id and draft.call_id not in ("", fact.call_id):
                    draft = None
            if draft is None:
                if not (fact.call_id and fact.tool):
                    continue
                draft = Draft(
                    fact=fact,
                    place=(fact.start_ns, 0, fact.span_id, 0),
                    tool=identity.tool_name(fact.tool),
                    call_id=fact.call_id,
                    arguments=None,
                    arguments_state="absent",
                    executed=True,
                    end_ns=fact.end_ns,
                )
                self.drafts.append(draft)
                self.by_id[fact.call_id] = draft
            draft.failed = draft.failed or fact.failed
            if len(fact.error) > len(draft.error):
                draft.error = fact.error
            draft.error_type = draft.error_type or fact.error_type
            draft.has_result = draft.has_result or fact.has_result
            if fact.decision:
                draft.decision = fact.decision
            if _better(fact.arguments_state, draft.arguments_state) or (
                fact.arguments_state == "object" and fact.span_id.startswith("log:")
            ):
                draft.arguments, draft.arguments_state = fact.arguments, fact.arguments_state

    def _history(self) -> None:
        """Asks known only from an agent's account of its whole run (no model calls recorded)."""
        if any(fact.kind == "chat" and fact.asks for fact in self.tree.facts):
            return
        known = {draft.call_id for draft in self.drafts if draft.call_id}
        for fact in self.tree.facts:
            clock = fact.start_ns
            for position, ask in enumerate(fact.history):
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
                    if _better(ask.arguments_state, run.arguments_state):
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
        return (exact or illegible or [None])[0]

    def _answers(self) -> dict[str, Answer]:
        """Answers by call id; those without an id go to the draft of their place."""
        answers: dict[str, Answer] = {}
        nameless: dict[str, list[Answer]] = {}
        for fact in self.tree.facts:
            by_tool: defaultdict[str, list[Answer]] = defaultdict(list)
            for answer in fact.answers:
                if answer.call_id:
                    known = answers.get(answer.call_id)
                    if known is None or (known.content in (None, "") and answer.content):
                        answers[answer.call_id] = answer
                elif answer.tool:
                    by_tool[match_name(answer.tool)].append(answer)
            for tool, found in by_tool.items():
                if len(found) > len(nameless.get(tool, ())):
                    nameless[tool] = found
        for tool, found in nameless.items():
            same = [draft for draft in self.drafts if match_name(draft.tool) == tool]
            for draft, answer in zip(same, found, strict=False):
                draft.answer = answer
        return answers

    # --- who --------------------------------------------------------------------------------

    def _identify(self) -> None:
        told = any(draft.has_result for draft in self.drafts)
        for draft in self.drafts:
            tree, fact = self.tree, draft.fact
            names = tree.agents(fact)
            if not names and draft.asked_by is not None:
                names = tree.agents(draft.asked_by)
            draft.agent = names[0] if names else ""
            draft.parent_agent = next((name for name in names[1:] if name != draft.agent), "")
            if not draft.parent_agent and draft.agent:
                draft.parent_agent = self._handed_by(draft.agent, fact)
            draft.delegated = any(one.kind == "tool" and one.target for one in tree.above(fact))
            draft.model = tree.model(fact, draft.asked_by)
            draft.version = tree.version(fact)
            draft.user = tree.user(fact)
            if not draft.executed:
                draft.step_error = tree.step_error(fact)
            elif fact.kind == "tool" and not draft.has_result and not draft.failed:
                draft.stopped = tree.stops_at(fact, draft.tool, told)
            chat = (
                draft.asked_by
                if draft.asked_by and draft.asked_by.offered
                else tree.chat_before(fact)
            )
            if chat is not None:
                draft.offered = chat.offered
                if not draft.description:
                    wanted = match_name(draft.tool)
                    draft.description = next(
                        (told for name, told in chat.offered if match_name(name) == wanted), ""
                    )

    def _handed_by(self, agent: str, fact: Fact) -> str:
        wanted = match_name(agent)
        for one in self.tree.facts:
            if one.start_ns > fact.start_ns:
                break
            if one.kind in ("handoff", "tool") and one.target and match_name(one.target) == wanted:
                by = one.handed_by or next(iter(self.tree.agents(one)), "")
                if by and by != agent:
                    return by
        return ""

    def _segments(self) -> dict[str, Segment]:
        segments: dict[str, Segment] = {}
        for draft in self.drafts:
            segment = self._segment(self.tree.conversation(draft.fact), segments)
            draft.key = segment.key
            segment.drafts.append(draft)
        if not segments:
            self._segment(self.tree.primary, segments)
        return segments

    def _segment(self, source: Fact | None, segments: dict[str, Segment]) -> Segment:
        if source is None:
            key = identity.trace_trajectory(self.trace_id)
            first = next((f for f in self.tree.facts if f.kind != "link"), self.tree.facts[0])
            made = Segment(key, first.environment, first.service, "")
        else:
            key = identity.conversation_trajectory(
                source.environment, source.service, source.conversation
            )
            made = Segment(key, source.environment, source.service, source.conversation)
        return segments.setdefault(key, made)


def _empty_arguments(asks: list[Draft]) -> None:
    """Asks without arguments, in messages that show those of other asks, take none: `{}`."""
    showing = {ask.fact.scope for ask in asks if ask.arguments_state == "object" and ask.arguments}
    for ask in asks:
        if ask.arguments_state == "absent" and ask.fact.scope in showing:
            ask.arguments, ask.arguments_state = {}, "object"


def _compatible(fact: Fact, draft: Draft) -> bool:
    """Whether arguments allow that a span tells of the same call, as far as both are legible."""
    return (
        fact.arguments_state != "object"
        or draft.arguments_state != "object"
        or same_arguments(fact.arguments, draft.arguments)
    )


def _deferred(decision: str) -> bool:
    lowered = decision.lower()
    return "approvalrequired" in lowered or "deferred" in lowered or lowered == "pending"


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
