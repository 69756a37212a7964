"""The calls of one trace: who made them, for whom, in which conversation, with what answer."""

from collections import defaultdict
from collections.abc import Mapping

from collector import identity
from collector.asks import join_asks
from collector.causes import settle
from collector.drafts import Draft, Segment, TraceCalls
from collector.executions import Executions
from collector.facts import Fact
from collector.identity import match_name
from collector.messages import Answer
from collector.results import tells_more
from collector.tree import Tree


def resolve(
    trace_id: str, facts: Mapping[str, Fact], links: Mapping[str, str]
) -> TraceCalls | None:
    """The calls of a trace, None for a trace without agents. A function of the set of its facts."""
    if not any(map(_acts, facts.values())):
        return None
    tree = Tree(facts.values(), links)
    return _Resolver(trace_id, tree).resolve()


def _acts(fact: Fact) -> bool:
    """Whether a fact is of an agent: a run, a call, or a model that is to use tools."""
    if fact.kind == "chat":
        return bool(fact.asks or fact.answers or fact.offered)
    return fact.kind in ("tool", "agent") or bool(fact.tool or fact.history)


class _Resolver:
    def __init__(self, trace_id: str, tree: Tree) -> None:
        self.trace_id = trace_id
        self.tree = tree
        executions = Executions(tree)
        join_asks(executions)
        self.drafts = executions.drafts
        self.told = settle(tree, self.drafts, executions.by_span)

    def resolve(self) -> TraceCalls:
        tree = self.tree
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
            told=self.told,
        )

    def _answers(self) -> dict[str, Answer]:
        """Answers by call id; those without an id go to the draft of their place."""
        answers: dict[str, Answer] = {}
        nameless: dict[str, list[Answer]] = {}
        for fact in self.tree.facts:
            by_tool: defaultdict[str, list[Answer]] = defaultdict(list)
            for answer in fact.answers:
                if answer.call_id:
                    known = answers.get(answer.call_id)
                    if known is None or (
                        known is not answer and tells_more(answer.content, known.content)
                    ):
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
        parents = {one.parent_id for one in self.tree.facts if one.kind != "part"}
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
            draft.siblings_told = told and fact.span_id not in parents
            if not draft.executed:
                draft.step_error = tree.step_error(fact)
            elif fact.kind == "tool" and not draft.has_result and not draft.failed:
                draft.stopped = tree.stops_at(fact, draft.tool, told)
            offer = self._offer(draft)
            if offer is not None:
                draft.offered = offer.offered
                if not draft.description:
                    wanted = match_name(draft.tool)
                    draft.description = next(
                        (
                            one.description
                            for one in offer.offered
                            if match_name(one.name) == wanted
                        ),
                        "",
                    )

    def _offer(self, draft: Draft) -> Fact | None:
        """The fact that says which tools were to be had: the asking model call, else the agent."""
        asked_by = draft.asked_by
        if asked_by is not None and asked_by.offered:
            return asked_by
        chat = self.tree.chat_before(draft.fact)
        if chat is not None and chat.offered:
            return chat
        for one in self.tree.above(draft.fact):
            if one.kind == "agent":
                return one if one.offered else None
        return None

    def _handed_by(self, agent: str, fact: Fact) -> str:
        wanted = match_name(agent)
        for one in self.tree.delegations:
            if one.start_ns > fact.start_ns:
                break
            if match_name(one.target) == wanted:
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
