"""Ancestry of the facts of one trace, and what hangs on it: agents, conversations, models."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

from collector.facts import Fact
from collector.identity import is_named, match_name

STEPS = 10_000
"""Links followed from one span upwards at most; a longer or cyclic chain ends there."""

ABOVE = 256
"""Facts kept above a span; real agents nest less than ten deep."""

CLOCK_SLACK_NS = 5_000_000
"""Browsers' and Node's clocks tick in milliseconds: a child may start before its parent by some."""

SKEW_NS = 2_000_000_000
"""By how much the clocks of two hosts may differ: milliseconds where they are synchronised, and one
that is not drifts by one or two seconds a day (20 parts in a million).
"""


Index = dict[str, tuple[list[int], list[Fact]]]
"""Facts of a sort, with their starts in order, by each of their ancestors' span ids."""


class Tree:
    """The facts of a trace in canonical order, each with its ancestors, nearest first."""

    def __init__(self, facts: Iterable[Fact], links: Mapping[str, str]) -> None:
        self.facts: Sequence[Fact] = sorted(facts, key=lambda f: (f.start_ns, f.end_ns, f.span_id))
        self._by_id = {fact.span_id: fact for fact in self.facts}
        self._links = links
        self._above: dict[str, tuple[Fact, ...]] = {}
        self._names = frozenset(f.agent for f in self.facts if f.kind == "agent" and f.agent)
        self._explicit = any(is_named(name) for name in self._names)
        self._chats: Index | None = None
        self._labels: Index | None = None
        self._last_chats: dict[str, int] | None = None
        self.agents_and_handoffs = [f for f in self.facts if f.kind in ("agent", "handoff")]
        self.delegations = [f for f in self.facts if f.target and f.kind in ("handoff", "tool")]
        clocks = {(f.service, f.process) for f in self.facts if not f.span_id.startswith("log:")}
        self.skew_ns = SKEW_NS if len(clocks) > 1 else CLOCK_SLACK_NS
        """By how much starts of its spans may stand in the wrong order."""
        self._user = next((f.user for f in self.facts if f.user), "")
        models = {f.model for f in self.facts if f.model}
        self._model = models.pop() if len(models) == 1 else ""
        conversations = [f for f in self.facts if f.conversation]
        self.primary = min(
            conversations,
            key=lambda f: (f.kind == "link", len(self.above(f)), f.start_ns, f.span_id),
            default=None,
        )

    def above(self, fact: Fact) -> tuple[Fact, ...]:
        """The facts among the span's ancestors, nearest first."""
        found = self._above.get(fact.span_id)
        if found is None:
            chain: list[Fact] = []
            seen = {fact.span_id}
            parent = fact.parent_id
            for _ in range(STEPS):
                if not parent or parent in seen:
                    break
                seen.add(parent)
                known = self._by_id.get(parent)
                if known is not None:
                    chain.append(known)
                    if len(chain) >= ABOVE:
                        break
                    parent = known.parent_id
                else:
                    parent = self._links.get(parent, "")
            found = tuple(chain)
            self._above[fact.span_id] = found
        return found

    def own_name(self, fact: Fact) -> str:
        """The agent a span names itself, "" if it names none or one that is not to be trusted."""
        if fact.kind == "agent":
            if fact.agent and (is_named(fact.agent) or not fact.label):
                return fact.agent
            return "" if self._explicit else fact.label
        if fact.agent and fact.agent in self._names:
            return fact.agent
        if is_named(fact.agent) and not (self._explicit and self._named_above(fact)):
            return fact.agent
        return ""

    def _named_above(self, fact: Fact) -> bool:
        return any(one.kind == "agent" and is_named(one.agent) for one in self.above(fact))

    def agents(self, fact: Fact) -> list[str]:
        """Names of the agents around a span: the acting one, then who called it, and so on."""
        names: list[str] = []
        own = self.own_name(fact)
        if own:
            names.append(own)
        for one in self.above(fact):
            name = one.target if one.kind == "tool" and one.target else self.own_name(one)
            if one.kind == "handoff" or (one.kind == "link" and not name):
                continue
            if name and name not in names[-1:]:
                names.append(name)
            if one.kind == "tool" and one.target:
                caller = self.own_name(one)
                if caller and caller != name:
                    names.append(caller)
        if not names:
            label = self._label(fact)
            names.extend([label] if label else ())
        return names

    def _label(self, fact: Fact) -> str:
        """Where nothing names an agent: what prompts and steps before the span call it."""
        for one in (fact, *self.above(fact)):
            if one.label and one.kind in ("chat", "chain"):
                return one.label
        if self._labels is None:
            self._labels = self._index(
                lambda one: bool(one.label) and one.kind in ("chat", "chain")
            )
        found = self._latest(self._labels, fact)
        return found.label if found is not None else ""

    def conversation(self, fact: Fact) -> Fact | None:
        """The fact that names the conversation: the topmost around a span, agents' spans first."""
        top: Fact | None = fact if fact.conversation else None
        top_link: Fact | None = None
        for one in self.above(fact):
            if one.conversation:
                if one.kind == "link":
                    top_link = one
                else:
                    top = one
        if top is not None and top.kind == "link":
            top, top_link = None, top
        return top or top_link or self.primary

    def user(self, fact: Fact) -> str:
        """The user: of the span, else the nearest ancestor, else any fact of the trace."""
        if fact.user:
            return fact.user
        for one in self.above(fact):
            if one.user:
                return one.user
        return self._user

    def version(self, fact: Fact) -> str:
        """The agent's version: of the span, else of the nearest ancestor of the same service."""
        if fact.version:
            return fact.version
        return next(
            (a.version for a in self.above(fact) if a.version and a.service == fact.service), ""
        )

    def chat_before(self, fact: Fact) -> Fact | None:
        """The model call that led to a span: the latest before it under the nearest ancestor."""
        if self._chats is None:
            self._chats = self._index(
                lambda one: one.kind == "chat" and bool(one.model or one.offered)
            )
        return self._latest(self._chats, fact)

    def _index(self, wanted: Callable[[Fact], bool]) -> Index:
        index: Index = {}
        for one in self.facts:
            if wanted(one):
                for at in (*(a.span_id for a in self.above(one)), "", one.span_id):
                    starts, found = index.setdefault(at, ([], []))
                    starts.append(one.start_ns)
                    found.append(one)
        return index

    def _latest(self, index: Index, fact: Fact) -> Fact | None:
        """The last of the index before a span, under the nearest ancestor that has any."""
        if not index:
            return None
        for one in (*(a.span_id for a in self.above(fact)), ""):
            entry = index.get(one)
            if entry is None:
                continue
            starts, found = entry
            at = bisect_right(starts, fact.start_ns)
            if at:
                return found[at - 1]
            if starts[0] <= fact.start_ns + CLOCK_SLACK_NS:
                return found[0]
        return None

    def model(self, fact: Fact, asked_by: Fact | None) -> str:
        """The model that acted: the span's own, its asker's, the latest before, the agent's."""
        if fact.model:
            return fact.model
        for chat in (asked_by, self.chat_before(fact)):
            if chat is not None:
                if chat.model:
                    return chat.model
                found = next((a.model for a in self.above(chat) if a.model), "")
                if found:
                    return found
        for one in self.above(fact):
            if one.model:
                return one.model
        return self._model

    def top_agent(self) -> Fact | None:
        """The outermost agent's fact: one with a name of its own before one without."""
        agents = [f for f in self.facts if f.kind == "agent" and not f.span_id.startswith("log:")]
        return min(
            agents,
            key=lambda f: (not self.own_name(f), len(self.above(f)), f.start_ns, f.span_id),
            default=None,
        )

    def step_error(self, fact: Fact) -> str:
        """The failure of the step around a model call, "" if none: loops end it at a bad ask."""
        for one in self.above(fact):
            if one.failed:
                return one.error
            if one.kind == "agent":
                break
        return ""

    def stops_at(self, fact: Fact, tool: str, told: bool) -> bool:
        """Whether the agent's run ends at this tool span: no model call follows.

        That is what a run interrupted for approval, then refused, leaves behind. It needs a second
        sign: `told`, other tool spans of the trace have results, or the agent's own account ends
        with asking for `tool`.
        """
        agent = next((a for a in self.above(fact) if a.kind == "agent"), None)
        if agent is None:
            return False
        last = agent.history[-1] if agent.history else None
        asked = (
            last is not None
            and same_tool(last.tool, tool)
            and all(answer.call_id != last.call_id for answer in agent.answers)
        )
        if not (told or asked):
            return False
        if self._last_chats is None:
            self._last_chats = {}
            for chat in self.facts:
                if chat.kind == "chat":
                    for one in self.above(chat):
                        self._last_chats[one.span_id] = chat.start_ns
        last_chat = self._last_chats.get(agent.span_id)
        return last_chat is not None and last_chat + self.skew_ns < fact.end_ns

    def speaker(self, chat: Fact) -> Fact:
        """The model call a log record belongs to, else the fact itself."""
        if chat.span_id.startswith("log:"):
            above = self.above(chat)
            if above and above[0].kind == "chat":
                return above[0]
        return chat

    def under_same_agent(self, one: Fact, other: Fact) -> bool:
        """Whether two spans share their nearest agent span."""
        return self.agent_above(one) == self.agent_above(other)

    def agent_above(self, fact: Fact) -> str:
        """Span id of the nearest agent's span around a span, "" if there is none."""
        return next((a.span_id for a in self.above(fact) if a.kind == "agent"), "")


def same_tool(one: str, other: str) -> bool:
    """Whether two names mean one tool: equal, or one with a plugin's or server's prefix."""
    a, b = match_name(one), match_name(other)
    if a == b:
        return True
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return len(shorter) > 2 and longer.endswith(shorter) and longer[-len(shorter) - 1] in "._/:"
