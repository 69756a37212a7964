"""One trajectory in a form that other tools and people read: OTLP/JSON, Markdown."""

import base64
import json
from functools import partial
from typing import Any

from contracts.ports import Labeller
from contracts.span import Event, Span, Value
from storage import listings
from storage.store import Store


def otlp_json(store: Store, trajectory_id: str) -> str | None:
    """The trajectory's stored spans as one OTLP/JSON trace request; None where there is none.

    Source: OTLP specification, "JSON Protobuf Encoding". Redacted values stay redacted.
    """
    spans = store.restore_trajectories(frozenset([trajectory_id])).spans
    if not spans:
        return None
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in sorted(spans, key=lambda each: (each.start_ns, each.span_id)):
        resource = json.dumps(_attributes(dict(span.resource)))
        groups.setdefault((resource, span.scope), []).append(span)
    request = {
        "resourceSpans": [
            {
                "resource": {"attributes": json.loads(resource)},
                "scopeSpans": [{"scope": {"name": scope}, "spans": [_span(s) for s in members]}],
            }
            for (resource, scope), members in groups.items()
        ]
    }
    return json.dumps(request, ensure_ascii=False)


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(dict(span.attributes)),
        "events": [_event(event) for event in span.events],
        "status": {"code": span.status_code, "message": span.status_message},
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "name": event.name,
        "timeUnixNano": str(event.time_ns),
        "attributes": _attributes(dict(event.attributes)),
    }


def _attributes(values: dict[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in values.items()]


def _any_value(value: Value) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"kvlistValue": {"values": _attributes(value)}}


def markdown(store: Store, labeller: Labeller, trajectory_id: str) -> str | None:
    """The trajectory as a timeline for a report; None where there is none.

    Everything that the agent or its tools wrote stands in code spans and cannot become markup.
    """
    found = store.fetch(partial(listings.trajectory, trajectory_id=trajectory_id))
    if found is None:
        return None
    labels: dict[int, list[str]] = {}
    for action in labeller.label(found.calls, found.request).actions:
        labels.setdefault(action.step, []).append(
            f"{action.category} {action.variant} ({action.stage}, {action.severity})"
        )
    lines = [
        f"# Trajectory {found.trajectory_id}",
        "",
        f"- subject: {_code(found.subject().label())}",
        f"- state: {found.state}, grouped by {found.grouped_by}",
        f"- request: {_code(found.request) if found.request else 'not seen'}",
        "",
        "| step | agent | tool | arguments | outcome | labels |",
        "| ---: | --- | --- | --- | --- | --- |",
    ]
    for call in found.calls:
        cells = (
            str(call.step),
            _code(call.agent),
            _code(call.tool),
            _code(json.dumps(call.arguments, ensure_ascii=False, default=str)),
            call.outcome,
            "; ".join(labels.get(call.step, ())) or "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """`text` as a Markdown code span on one line, cut at 500 characters."""
    line = " ".join(text.split())[:500].replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else "-"
