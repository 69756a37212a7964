"""What Telltale can and cannot see, per source and subject: the document of `telltale doctor`.

Nothing here is a verdict on an agent. Each finding says what is missing, what that hides, and what
to switch on in the agent's own telemetry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from contracts.labels import CATEGORIES
from contracts.span import Value
from contracts.trajectory import Call
from detectors.rules.cases import shipped_calls
from detectors.tool_risk import Proposal, propose
from detectors.toolmap import ToolMap
from storage import listings
from storage.store import Store

FEW_CALLS = 20
"""Below this many calls a share says nothing."""
POOR = 0.8
"""A share below this is worth a finding: with a fifth unseen, verdicts turn `blind`."""
SAMPLE = 2_000
"""Newest calls looked at for tools that nothing maps."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What only a running daemon knows. `sources`: name to seconds of lag, None where none applies.
    `problems`: what is wrong now, one sentence each.
    """

    sources: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    problems: Sequence[str] = ()


_SUBJECTS = """
SELECT t.subject, count(DISTINCT t.trajectory_id), count(c.tool),
       avg((c.arguments_state NOT IN ('absent', 'redacted', 'invalid'))::INT),
       avg((c.arguments_state = 'truncated')::INT),
       avg((c.outcome <> 'unknown')::INT),
       avg((c.call_id <> '')::INT),
       avg((c.model <> '')::INT),
       avg((c.conversation_id <> '')::INT),
       avg((c.user_id <> '')::INT),
       avg((t.request <> '')::INT),
       count(*) FILTER (c.outcome = 'denied'),
       list_sort(list(DISTINCT c.dialect))
FROM trajectories t LEFT JOIN calls c USING (trajectory_id)
GROUP BY t.subject ORDER BY t.subject
"""
_BLIND = """
SELECT t.subject, o.category, count(*), avg((NOT o.visible)::INT)
FROM opportunities o JOIN trajectories t USING (trajectory_id)
GROUP BY ALL HAVING avg((NOT o.visible)::INT) > 0 ORDER BY ALL
"""
_SOURCES = """
SELECT source, count(*), max(received_at)::VARCHAR,
       count(*) FILTER (dropped > 0), count(*) FILTER (len(flags) > 0)
FROM spans GROUP BY source ORDER BY source
"""
_CLOCKS = """
SELECT service, count(*), count(*) FILTER (duration_ns < 0) AS contradicted
FROM calls GROUP BY service HAVING contradicted > 0 ORDER BY contradicted DESC, service
"""
_ADVICE = (
    (
        "arguments",
        "arguments of {share:.0%} of calls are seen; rules over arguments are blind for the rest",
        "switch on content capture in the agent's SDK "
        "(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY, or its own switch)",
    ),
    (
        "outcomes",
        "the outcome of {share:.0%} of calls is known; denied calls may be missed",
        "export chat spans with their messages beside the tool spans",
    ),
    (
        "conversations",
        "{share:.0%} of calls carry a conversation id; the rest is grouped by trace",
        "set gen_ai.conversation.id or session.id on the agent's root span",
    ),
    (
        "models",
        "the model of {share:.0%} of calls is known; subjects of several models are mixed",
        "export chat spans, or set gen_ai.request.model on the agent's span",
    ),
    (
        "requests",
        "what the user asked for is known for {share:.0%} of calls; whether a payee or a resource"
        " is the user's own choice (UA11, UA13) cannot be told for the rest",
        "export chat spans with their messages (gen_ai.input.messages)",
    ),
)


def examine(store: Store, tools: ToolMap, observations: Observations) -> dict[str, Value]:
    """The whole document; `findings` is empty where nothing is missing."""
    subjects = _subjects(store)
    findings: list[Value] = [finding for each in subjects for finding in _findings(each)]
    for problem in observations.problems:
        findings.append({"subject": "", "what": problem, "do": ""})
    clocks: list[Value] = []
    for service, calls, contradicted in store.read(_CLOCKS):
        clocks.append({"service": service, "calls": calls, "contradicted": contradicted})
        findings.append(_clocks(str(service), int(calls), int(contradicted)))
    unmapped: list[Value] = [
        _unmapped(proposal) for proposal in propose(tools, _newest_calls(store), shipped_calls())
    ]
    lost = _counts(store)
    if lost["gaps"] or lost["dead_letters"] or lost["conflicts"]:
        findings.append(
            {
                "subject": "",
                "what": "evidence was lost or contested: {gaps} gaps, {dead_letters} dead letters, "
                "{conflicts} spans with the id of another".format(**lost),
                "do": "look with telltale query at dead_letters, gaps and spans WHERE conflict",
            }
        )
    return {
        "sources": _sources(store, observations),
        "subjects": [dict(each) for each in subjects],
        "clocks": clocks,
        "lost": dict(lost),
        "unmapped_tools": unmapped,
        "findings": findings,
    }


def _clocks(service: str, calls: int, contradicted: int) -> Value:
    return {
        "subject": "",
        "what": f"clocks contradict the causes of {contradicted} of {calls} calls of service"
        f" {service or '-'}: their place among the calls is doubtful",
        "do": "synchronise the clocks of its hosts (NTP)",
    }


def _unmapped(proposal: Proposal) -> dict[str, Value]:
    """A tool to confirm. `entry`: as it stands in `tools.yaml` once confirmed."""
    entry = proposal.entry
    given: dict[str, Value] = {"name": entry.name}
    if entry.act:
        given["family"] = entry.act
    if entry.targets:
        given["target"] = list(entry.targets)
    if entry.reversible is not None:
        given["reversible"] = entry.reversible
    if entry.open_world is not None:
        given["open_world"] = entry.open_world
    return {
        "entry": given,
        "why": proposal.why,
        "risk": proposal.risk,
        "confidence": proposal.confidence,
        "calls": proposal.calls,
    }


def _sources(store: Store, observations: Observations) -> list[Value]:
    stored = {
        str(name): {"spans": spans, "last_received_at": last, "cut_by_sdk": cut, "mended": mended}
        for name, spans, last, cut, mended in store.read(_SOURCES)
    }
    names = sorted(set(stored) | set(observations.sources))
    nothing = {"spans": 0, "last_received_at": None, "cut_by_sdk": 0, "mended": 0}
    return [
        {"source": name, "lag_s": observations.sources.get(name), **stored.get(name, nothing)}
        for name in names
    ]


def _subjects(store: Store) -> list[dict[str, Value]]:
    blind: dict[str, dict[str, Value]] = {}
    for subject, category, opportunities, share in store.read(_BLIND):
        blind.setdefault(subject, {})[category] = {
            "opportunities": opportunities,
            "invisible": share,
        }
    keys = (
        "subject", "trajectories", "calls", "arguments", "truncated", "outcomes", "call_ids",
        "models", "conversations", "users", "requests", "denied", "dialects",
    )  # fmt: skip
    out: list[dict[str, Value]] = []
    for row in store.read(_SUBJECTS):
        document: dict[str, Value] = dict(zip(keys, row, strict=True))
        document["blind"] = blind.get(str(row[0]), {})
        out.append(document)
    return out


def _findings(subject: Mapping[str, Value]) -> list[Value]:
    found: list[Value] = []
    name, calls = str(subject["subject"]), subject["calls"]
    if not isinstance(calls, int) or calls == 0:
        return [
            {
                "subject": name,
                "what": "no tool calls are seen at all",
                "do": "check that its tool spans or chat messages are exported",
            }
        ]
    if calls < FEW_CALLS:
        return []
    for key, what, do in _ADVICE:
        share = subject[key]
        if isinstance(share, float) and share < POOR:
            found.append({"subject": name, "what": what.format(share=share), "do": do})
    blind = subject["blind"]
    titles = {category.id: category.title for category in CATEGORIES}
    if isinstance(blind, dict):
        for category, seen in sorted(blind.items()):
            share = seen.get("invisible") if isinstance(seen, dict) else None
            if isinstance(share, float) and share > 1 - POOR:
                what = f"{category} ({titles[category]}): {share:.0%} of opportunities are unseen"
                do = (
                    "verdicts of this category are `blind` until arguments, results and the"
                    " request are captured"
                )
                found.append({"subject": name, "what": what, "do": do})
    return found


def _newest_calls(store: Store) -> list[Call]:
    calls: list[Call] = []
    for trajectory in store.fetch(partial(listings.newest, limit=SAMPLE // 10)):
        calls += trajectory.calls
        if len(calls) >= SAMPLE:
            break
    return calls


def _counts(store: Store) -> dict[str, int]:
    return {
        name: int(store.read(sql)[0][0])
        for name, sql in (
            ("gaps", "SELECT count(*) FROM gaps"),
            ("dead_letters", "SELECT count(*) FROM dead_letters"),
            ("conflicts", "SELECT count(*) FROM spans WHERE conflict"),
        )
    }
