"""Extraction of facts: one pass over a span's attributes, then only the fields its kind has."""

from typing import cast

from collector import identity
from collector.dialects import Field
from collector.facts import Fact
from collector.kinds import NAMED_TOOL, NO_PLAN, kind_of_span, make_plan, remembered_plan
from collector.model_spans import (
    agent_fields,
    chat_fields,
    requested_model,
    step_fields,
)
from collector.reading import Reading
from collector.tool_spans import handoff_fields, part_fields, repeats_failure, tool_fields
from collector.values import text_of
from contracts.span import Span, Value

PLANNED = 48
"""Attributes up to which the plan of a span's names is remembered."""


def extract(span: Span, default_environment: str) -> Fact | None:
    """The fact in `span`, None for a span that has nothing to say but its place in the tree.

    Most spans of a fleet are of no agent: for those this is a dictionary look-up an attribute.
    """
    attributes = tuple(span.attributes)
    # Flattened messages have other names in every span: remembering those would only forget others.
    plan = (remembered_plan if len(attributes) <= PLANNED else make_plan)(attributes)
    if plan is NO_PLAN and not NAMED_TOOL.match(span.name):
        return None
    kind, dialect = kind_of_span(span, plan)
    if kind == "link" and not plan.hints:
        return None
    reading = Reading(span, plan, kind, dialect)
    taken = _who(reading)
    if kind == "tool":
        taken.update(tool_fields(reading))
        written = str(taken["tool"])
        taken["tool"] = identity.tool_name(written)
        if identity.is_pseudo_tool(written, cast(Value, taken["arguments"])) or repeats_failure(
            reading
        ):
            kind = "link"
    elif kind == "chat":
        taken.update(chat_fields(reading))
        taken["model"] = taken["model"] or requested_model(reading)
    elif kind == "agent":
        taken.update(agent_fields(reading))
    elif kind == "chain":
        taken.update(step_fields(reading))
    elif kind == "part":
        taken.update(part_fields(reading))
    elif kind == "handoff":
        taken.update(handoff_fields(reading))
    resource = span.resource
    return Fact(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        digest=span.digest,
        kind=kind,
        dialect=dialect,
        name=span.name,
        scope=span.scope,
        source=span.source,
        start_ns=span.start_ns,
        end_ns=max(span.end_ns, span.start_ns),
        back_ns=span.start_ns - span.end_ns if 0 < span.end_ns < span.start_ns else 0,
        received_ns=span.received_ns,
        environment=identity.environment_of(
            resource, reading.text(Field.ENVIRONMENT), default_environment
        ),
        service=identity.service_of(resource),
        process=identity.process_of(resource),
        version=reading.text(Field.VERSION) or text_of(resource.get("service.version")),
        **taken,  # type: ignore[arg-type]  # keys are fields of Fact
    )


def _who(reading: Reading) -> dict[str, object]:
    agent = reading.text(Field.AGENT)
    conversation = reading.text(Field.CONVERSATION)
    user = reading.text(Field.USER)
    if Field.METADATA in reading.by_field and not (agent and conversation and user):
        for raw in reading.values(Field.METADATA):
            named = identity.from_metadata(identity.metadata_of(raw))
            agent = agent or named[0]
            conversation = conversation or named[1]
            user = user or named[2]
    model = reading.text(Field.MODEL)
    label = ""
    if reading.kind == "agent":
        label = reading.text(Field.AGENT_LABEL)
        if not identity.is_named(label):
            label = identity.label_of(reading.span.name, model)
    return {
        "agent": agent,
        "label": label,
        "model": model,
        "conversation": conversation,
        "user": user,
    }
