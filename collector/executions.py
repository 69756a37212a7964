"""Executions: the tool spans of a trace, each call once, with what other spans report of it."""

import re

from collector import identity
from collector.causes import causes_first
from collector.drafts import Draft, better, compatible
from collector.facts import Fact
from collector.tree import Tree, same_tool


class Executions:
    """The drafts of a trace that spans stand for; asks without a span join them later.

    `by_span`: every span that tells of a draft. `by_id`: drafts by call id.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.by_span: dict[str, Draft] = {}
        self.by_id: dict[str, Draft] = {}
        self.drafts: list[Draft] = []
        self._tools()
        self._parts()

    def _tools(self) -> None:
        # The outer span of a call before the inner one, even where another host's clock is behind.
        tools = [fact for fact in self.tree.facts if fact.kind == "tool"]
        for fact in causes_first(tools, self._tools_above):
            deferred = _deferred(fact)
            draft = Draft(
                fact=fact,
                place=(fact.start_ns, 0, fact.span_id, 0),
                tool=fact.tool,
                call_id=fact.call_id,
                arguments=fact.arguments,
                arguments_state=fact.arguments_state,
                executed=not deferred,
                loose=fact.arguments_loose,
                result=fact.result,
                has_result=fact.has_result,
                failed=fact.failed and not deferred,
                error=fact.error,
                error_type=fact.error_type,
                decision=fact.decision,
                description=fact.description,
                required=fact.required,
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

    def _tools_above(self, fact: Fact) -> list[Fact]:
        return [one for one in self.tree.above(fact) if one.kind == "tool"][:1]

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
                and compatible(fact, draft)
            ):
                return draft
        return None

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
            if better(fact.arguments_state, draft.arguments_state) or (
                fact.arguments_state == "object" and fact.span_id.startswith("log:")
            ):
                draft.arguments, draft.arguments_state = fact.arguments, fact.arguments_state


_DEFERRED = re.compile(
    r"approvalrequired|deferred|^pending$|interrupt$|interrupted?exception", re.I
)


def _deferred(fact: Fact) -> bool:
    """Whether the call was put off for someone's decision: the span ended without running it."""
    return any(_DEFERRED.search(word) for word in (fact.decision, fact.error_type) if word)
