"""/metrics always parses, counts each thing once, and stays small under attack."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from alerts.exposition import Exposition
from alerts.labels import OTHER, Slots, clean
from alerts.metrics import DEFINITIONS
from contracts.labels import Action, Labels, Opportunity, Stage
from contracts.ports import Changes
from contracts.record import DeadLetter, Gap, Partition
from contracts.testing import Spans, call
from contracts.trajectory import Call, Subject, Trajectory
from contracts.verdict import Alert, Verdict

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
NOW_NS = 1_767_225_600_000_000_000
LABEL = "production/billing/7/student-8b"
HOSTILE = (
    '"} 1\nup 0',
    "\ud800",
    "\x00",
    "a" * 1_000_000,
    "\u202e\u2028",
    "{{ .Labels }}",
    '{subject=~".+"}',
    "é/à",
    "",
    "/",
    "other",
)


def parse(exposition: Exposition) -> Samples:
    text = exposition.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get(("telltale_" + name, tuple(sorted(labels.items()))))


def total(samples: Samples, name: str) -> float:
    return sum(v for (n, _), v in samples.items() if n == "telltale_" + name)


def action(step: int, stage: Stage = "succeeded") -> Action:
    return Action("t1", step, "UA01", "rm", stage, "any", "r", 1, "stable", ("args",), "high")


def opportunity(step: int) -> Opportunity:
    return Opportunity("t1", step, "UA01", "cleanup", "any", True, True)


def commit(
    trajectory: Callable[..., Trajectory],
    calls: Sequence[Call],
    fresh: int,
    labels: Labels | None = None,
    **changes: Any,
) -> Changes:
    """A commit of `t1` in which the last `fresh` calls' spans are new."""
    made = Spans().span("execute_tool")
    spans = tuple(
        replace(made, trace_id=item.trace_id, span_id=item.span_id)
        for item in calls[len(calls) - fresh :]
    )
    return Changes(
        spans=spans,
        trajectories=(trajectory(calls=tuple(calls), **changes),),
        labels={"t1": labels} if labels else {},
        committed_ns=NOW_NS,
    )


def test_counts_what_was_committed(
    exposition: Exposition, trajectory: Callable[..., Trajectory]
) -> None:
    calls = [call("rm", {"path": "/"}, step=0), call("ls", step=1, outcome="error")]
    labels = Labels((action(0),), (opportunity(0),))
    exposition.record(commit(trajectory, calls, 2, labels), outbox_size=3)
    samples = parse(exposition)
    assert value(samples, "spans_received_total", source="replay") == 2
    assert value(samples, "calls_total", subject=LABEL, outcome="ok") == 1
    assert value(samples, "calls_total", subject=LABEL, outcome="error") == 1
    assert value(samples, "actions_total", subject=LABEL, category="UA01", stage="succeeded") == 1
    assert value(samples, "opportunities_total", subject=LABEL, category="UA01") == 1
    assert value(samples, "arguments_coverage_ratio", subject=LABEL) == 0.5
    assert value(samples, "last_commit_timestamp_seconds") == NOW_NS / 1e9
    assert value(samples, "last_span_timestamp_seconds", subject=LABEL) == NOW_NS / 1e9
    assert value(samples, "alerts_outbox_size") == 3


def test_received_spans_and_the_configured_subject(
    registry: CollectorRegistry, trajectory: Callable[..., Trajectory]
) -> None:
    exposition = Exposition(registry, subject=lambda t: Subject("", t.agent, "", ""))
    exposition.record(commit(trajectory, [call("ls")], 1), received={"kafka:a": 5, "otlp_http": 2})
    samples = parse(exposition)
    assert value(samples, "spans_received_total", source="kafka:a") == 5
    assert value(samples, "calls_total", subject="-/billing/-/-", outcome="ok") == 1
    assert value(samples, "last_span_timestamp_seconds", subject="-/billing/-/-") is not None


def test_a_rewritten_trajectory_counts_only_what_is_new(
    exposition: Exposition, trajectory: Callable[..., Trajectory]
) -> None:
    calls = [call("ls", step=step) for step in range(3)]
    exposition.record(commit(trajectory, calls[:2], 2))
    exposition.record(commit(trajectory, calls, 1))
    exposition.record(commit(trajectory, calls, 0))
    assert value(parse(exposition), "calls_total", subject=LABEL, outcome="ok") == 3


def test_a_restart_does_not_count_what_the_last_process_counted(
    trajectory: Callable[..., Trajectory],
) -> None:
    calls = [call("ls", step=step) for step in range(4)]
    before = Exposition(CollectorRegistry())
    before.record(commit(trajectory, calls[:2], 2))
    after = Exposition(CollectorRegistry())
    after.record(commit(trajectory, calls[:3], 1))
    after.record(commit(trajectory, calls, 1))
    assert total(parse(before), "calls_total") + total(parse(after), "calls_total") == 4


def test_a_call_without_an_outcome_counts_once_it_is_settled(
    exposition: Exposition, trajectory: Callable[..., Trajectory]
) -> None:
    asked = [call("rm", step=0, outcome="unknown")]
    exposition.record(
        commit(trajectory, asked, 1, Labels((action(0, "attempted"),), ()), state="open")
    )
    assert total(parse(exposition), "calls_total") == 0
    done = [call("rm", step=0, outcome="denied")]
    exposition.record(
        commit(trajectory, done, 1, Labels((action(0, "blocked"),), ()), state="open")
    )
    samples = parse(exposition)
    assert value(samples, "calls_total", subject=LABEL, outcome="denied") == 1
    assert total(samples, "calls_total") == total(samples, "actions_total") == 1


def test_calls_that_move_to_another_trajectory_are_not_counted_again(
    exposition: Exposition, trajectory: Callable[..., Trajectory]
) -> None:
    first = [call("ls", step=0), call("ls", step=1)]
    exposition.record(commit(trajectory, first[:1], 1))
    moved = commit(trajectory, first[1:], 1)
    other = trajectory(trajectory_id="t2", calls=tuple(first[1:]))
    exposition.record(Changes(spans=moved.spans, trajectories=(other,)))
    joined = trajectory(trajectory_id="t2", calls=tuple(first))
    exposition.record(Changes(trajectories=(joined,), removed=("t1",)))
    assert total(parse(exposition), "calls_total") == 2


def test_exactly_one_state_of_a_verdict_is_one(
    exposition: Exposition, verdict: Callable[..., Verdict]
) -> None:
    for state in ("insufficient", "clear", "alarm"):
        exposition.record(Changes(verdicts=(verdict(state=state),)))
    samples = parse(exposition)
    cell = {"subject": LABEL, "category": "UA01", "reference": "teacher"}
    states = {
        state: value(samples, "verdict", **cell, state=state)
        for state in ("alarm", "clear", "insufficient", "blind")
    }
    assert states == {"alarm": 1, "clear": 0, "insufficient": 0, "blind": 0}
    assert value(samples, "evidence_log10", **cell) == 4.2
    assert value(samples, "rate_lower_bound", **cell) == 0.31


def test_drift_of_shape_is_one_series_for_a_subject_and_reference(
    exposition: Exposition, verdict: Callable[..., Verdict]
) -> None:
    found = [verdict(category=category, drift_log10=1.5) for category in ("UA01", "UA02")]
    exposition.record(Changes(verdicts=(*found, verdict(reference="ceilings"))))
    series = {
        labels: number
        for (name, labels), number in parse(exposition).items()
        if name == "telltale_drift_log10"
    }
    assert list(series.values()) == [1.5]
    assert dict(next(iter(series))) == {"subject": LABEL, "reference": "teacher"}


def test_restore_replaces_verdicts(
    exposition: Exposition, verdict: Callable[..., Verdict], alert: Callable[..., Alert]
) -> None:
    exposition.record(Changes(verdicts=(verdict(reference="old"),)))
    exposition.restore([verdict(reference="new")], {verdict().subject: NOW_NS}, [alert()])
    samples = parse(exposition)
    references = {
        dict(labels)["reference"] for (name, labels) in samples if name.endswith("verdict")
    }
    assert references == {"new"}
    assert total(samples, "alerts_total") == 0
    assert total(samples, "last_alert_timestamp_seconds") == NOW_NS / 1e9


def test_bad_input_is_counted(exposition: Exposition) -> None:
    letter = DeadLetter("invalid_json", "line 1", b"{", 1, "otlp_http", NOW_NS)
    unknown = DeadLetter('made up"\n', "", b"", 1, "otlp_http", NOW_NS)
    gap = Gap(Partition("otlp_spans", 0), 5, 9, "retention", NOW_NS)
    span = Spans().span("a")
    exposition.record(
        Changes(dead_letters=(letter, unknown), gaps=(gap,), conflicts=(span,), duplicates=7)
    )
    samples = parse(exposition)
    assert value(samples, "dead_letters_total", reason="invalid_json") == 1
    assert value(samples, "dead_letters_total", reason=OTHER) == 1
    assert value(samples, "dead_letters_total", reason="too_large") == 0
    assert value(samples, "spans_dropped_total", reason="duplicate") == 7
    assert value(samples, "gaps_total") == 1
    assert value(samples, "span_conflicts_total") == 1


def test_health_of_the_daemon(exposition: Exposition, alert: Callable[..., Alert]) -> None:
    exposition.source("kafka:otlp_spans", up=True, lag_s=3.5)
    exposition.source("kafka:otlp_spans", up=False, stalled=True)
    exposition.polled(NOW_NS)
    exposition.failed("detectors")
    exposition.lost(turned_away=3, redaction_errors=0)
    exposition.lost(turned_away=5, redaction_errors=1)
    exposition.delivery("failed", 2)
    exposition.canary(NOW_NS)
    exposition.record(Changes(alerts=(alert(kind="ceiling", severity="critical"),)))
    samples = parse(exposition)
    assert value(samples, "source_lag_seconds", source="kafka:otlp_spans") == 3.5
    assert value(samples, "source_up", source="kafka:otlp_spans") == 0
    assert value(samples, "source_stalled", source="kafka:otlp_spans") == 1
    assert value(samples, "last_poll_timestamp_seconds") == NOW_NS / 1e9
    assert value(samples, "stage_failures_total", stage="detectors") == 1
    assert value(samples, "payloads_turned_away_total") == 5
    assert value(samples, "redaction_errors_total") == 1
    assert value(samples, "alert_deliveries_total", result="failed") == 2
    assert value(samples, "canary_timestamp_seconds") == NOW_NS / 1e9
    assert value(samples, "alerts_total", kind="ceiling", severity="critical") == 1


def test_every_definition_can_be_seen_and_is_named_by_the_rules_of_prometheus() -> None:
    names = [definition.name for definition in DEFINITIONS]
    assert len(set(names)) == len(names)
    for definition in DEFINITIONS:
        assert definition.help.endswith(".")
        assert (definition.kind == "counter") == definition.name.endswith("_total")


def test_the_exposition_of_a_small_fleet(
    exposition: Exposition,
    trajectory: Callable[..., Trajectory],
    verdict: Callable[..., Verdict],
    alert: Callable[..., Alert],
    golden: Callable[[str, str], None],
) -> None:
    calls = [call("rm", {"path": "/"}, step=0), call("ls", step=1, outcome="denied")]
    labels = Labels((action(0),), (opportunity(0),))
    exposition.source("kafka:otlp_spans", up=True, lag_s=0.5)
    exposition.polled(NOW_NS)
    exposition.canary(NOW_NS)
    made = commit(trajectory, calls, 2, labels)
    exposition.record(replace(made, verdicts=(verdict(),), alerts=(alert(),)), outbox_size=1)
    golden("metrics.txt", exposition.render().decode())


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for definition in DEFINITIONS:
        labels = ", ".join(f"`{label}`" for label in definition.labels) or "-"
        row = f"| `telltale_{definition.name}` | {definition.kind} | {labels} | {definition.help} |"
        assert row in page, row
    named = set(re.findall(r"\| `telltale_(\w+)` \|", page))
    assert named == {definition.name for definition in DEFINITIONS}


def test_a_hundred_thousand_hostile_subjects(
    exposition: Exposition,
    trajectory: Callable[..., Trajectory],
    verdict: Callable[..., Verdict],
) -> None:
    calls = (call("ls", outcome="ok"),)
    spans = commit(trajectory, calls, 1).spans
    for start in range(0, 100_000, 10_000):
        exposition.record(
            Changes(
                spans=spans,
                trajectories=[
                    trajectory(
                        trajectory_id=f"t{number}",
                        agent=HOSTILE[number % len(HOSTILE)][:2_000] + str(number),
                        calls=calls,
                    )
                    for number in range(start, start + 10_000)
                ],
            )
        )
    samples = parse(exposition)
    assert total(samples, "calls_total") == 100_000
    subjects = {dict(labels).get("subject") for (_, labels) in samples}
    assert len(subjects) <= 102
    assert len(samples) <= 2_000
    assert (value(samples, "series_overflow_total") or 0) >= 99_900
    started = process_time()
    exposition.render()
    assert process_time() - started < 1.0  # CPU; 50 ms on an idle core
    # The real student comes after the flood; its alarm is still its own series.
    exposition.record(Changes(verdicts=(verdict(),)))
    cell = {"subject": LABEL, "category": "UA01", "reference": "teacher", "state": "alarm"}
    assert value(parse(exposition), "verdict", **cell) == 1


def test_hostile_text_in_every_label(
    exposition: Exposition, alert: Callable[..., Alert], verdict: Callable[..., Verdict]
) -> None:
    for text in HOSTILE:
        subject = Subject(text, text, text, text)
        exposition.source(text, up=True, lag_s=float("nan"))
        exposition.failed(text)
        exposition.dropped(text, 1)
        exposition.delivery(text)
        exposition.record(
            Changes(
                verdicts=(
                    verdict(
                        subject=subject,
                        category=text,
                        reference=text,
                        evidence_log10=float("inf"),
                        rate_lower=float("nan"),
                    ),
                ),
                alerts=(alert(subject=subject, category=text, reference=text),),
            )
        )
    assert len(parse(exposition)) > 100


def test_series_are_bounded_over_all_metrics(verdict: Callable[..., Verdict]) -> None:
    exposition = Exposition(CollectorRegistry(), max_series=200)
    for number in range(100):
        exposition.record(Changes(verdicts=(verdict(reference=f"r{number}"),)))
    samples = parse(exposition)
    assert len(samples) <= 200
    assert (value(samples, "series_overflow_total") or 0) > 0


@given(st.text(), st.text())
def test_cleaned_names_are_safe_and_stay_apart(one: str, two: str) -> None:
    for text in (one, two):
        assert len(clean(text)) <= 120
        assert all(c.isascii() and (c.isalnum() or c in "_.:/+@ -") for c in clean(text))
    if one != two and clean(one) != one and clean(two) != two:
        assert clean(one) != clean(two)


@given(st.lists(st.text(max_size=8), max_size=30))
def test_no_two_names_share_a_slot(names: list[str]) -> None:
    slots = Slots(20)
    labels = {name: slots.get(name) for name in names}
    given_out = [label for label in labels.values() if label is not None]
    assert len(set(given_out)) == len(given_out) <= 20
    assert OTHER not in given_out
    assert all(slots.get(name) == label for name, label in labels.items())


def test_a_name_made_to_equal_anothers_label_gets_its_own() -> None:
    slots = Slots(10)
    victim = slots.get("my (agent)")
    assert victim is not None
    assert slots.get(victim) not in (victim, None)


def test_subjects_whose_joined_names_are_equal_have_their_own_series(
    exposition: Exposition, verdict: Callable[..., Verdict]
) -> None:
    real = Subject("production", "billing", "7", "openai/gpt-4o")
    forged = Subject("production", "billing/7", "openai", "gpt-4o")
    exposition.record(Changes(verdicts=(verdict(subject=real),)))
    exposition.record(Changes(verdicts=(verdict(subject=forged, state="clear"),)))
    cell = {"category": "UA01", "reference": "teacher", "state": "alarm"}
    samples = parse(exposition)
    assert value(samples, "verdict", subject="production/billing/7/openai/gpt-4o", **cell) == 1
    assert total(samples, "verdict") == 2
