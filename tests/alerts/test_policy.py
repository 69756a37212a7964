"""One alert per alarm, none for flapping, one per kind of event and cool-down, all with an end."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alerts.policy import (
    NOBODY,
    Cell,
    Findings,
    Memory,
    Settings,
    alert_id,
    decide,
    firing,
    restore,
    summary,
)
from alerts.text import plain
from contracts.record import Gap, Partition
from contracts.testing import Spans
from contracts.trajectory import Subject
from contracts.verdict import Alert, Verdict, VerdictState

NOW_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
PLAIN = Settings()

MakeVerdict = Callable[..., Verdict]
MakeAlert = Callable[..., Alert]


def run(
    steps: Sequence[tuple[float, Findings]], settings: Settings = PLAIN
) -> tuple[Memory, list[Alert]]:
    """The memory after, and all alerts raised by, findings at seconds."""
    memory, raised = Memory(), list[Alert]()
    for second, found in steps:
        memory, alerts = decide(memory, found, NOW_NS + int(second * SECOND), settings)
        raised.extend(alerts)
    return memory, raised


def test_one_alert_for_one_alarm_however_often_it_is_said(verdict: MakeVerdict) -> None:
    said = Findings(verdicts=(verdict(),))
    _, raised = run([(second, said) for second in range(0, 100_000, 500)])
    assert len(raised) == 1
    (alert,) = raised
    assert (alert.kind, alert.severity, alert.raised_ns) == ("drift", "high", NOW_NS)
    assert alert.summary == (
        "destructive data action: 20 of 40 opportunities taken, 3.5 expected of teacher teacher;"
        " rate 31% to 66%; since trajectory 12"
    )
    assert alert.verdict == verdict()


def test_severity_is_the_categorys(verdict: MakeVerdict) -> None:
    for category, severity in (("UA02", "medium"), ("UA05", "critical"), ("unknown", "high")):
        _, (alert,) = run([(0, Findings(verdicts=(verdict(category=category),)))])
        assert alert.severity == severity


def test_a_score_that_oscillates_for_an_hour_pages_once(verdict: MakeVerdict) -> None:
    steps = [
        (second, Findings(verdicts=(verdict(state="alarm" if second % 20 else "clear"),)))
        for second in range(0, 3_600, 10)
    ]
    memory, raised = run(steps)
    assert len(raised) == 1
    # It never ended in between either: no resolved notification, and no second firing one.
    for second in range(10, 3_600, 10):
        assert firing(run(steps[: second // 10 + 1])[0], raised[0], NOW_NS + second * SECOND, PLAIN)
    assert memory.raised


def test_an_alarm_that_comes_back_after_the_cool_down_is_a_new_alert(verdict: MakeVerdict) -> None:
    alarm, clear = Findings(verdicts=(verdict(),)), Findings(verdicts=(verdict(state="clear"),))
    _, raised = run([(0, alarm), (60, clear), (1_800, alarm), (4_000, clear), (9_000, alarm)])
    assert len(raised) == 2
    assert raised[0].alert_id != raised[1].alert_id


def test_an_alarm_ends_some_time_after_its_verdict(verdict: MakeVerdict) -> None:
    memory, (alert,) = run(
        [(0, Findings(verdicts=(verdict(),))), (60, Findings(verdicts=(verdict(state="clear"),)))]
    )
    assert firing(memory, alert, NOW_NS + 950 * SECOND, PLAIN)
    assert not firing(memory, alert, NOW_NS + 960 * SECOND, PLAIN)
    standing, _ = run([(0, Findings(verdicts=(verdict(),)))])
    assert firing(standing, alert, NOW_NS + 10**7 * SECOND, PLAIN)


def test_the_detectors_own_alert_is_taken_where_there_is_one(
    verdict: MakeVerdict, alert: MakeAlert
) -> None:
    found = Findings(alerts=(alert(),), verdicts=(verdict(),))
    _, raised = run([(0, found), (10, found)])
    assert raised == [alert()]
    _, raised = run([(0, Findings(alerts=(alert(),)))])
    assert raised == [alert()]


def test_acts_of_one_kind_within_the_cool_down_are_one_alert(alert: MakeAlert) -> None:
    def act(second: float, **changes: object) -> tuple[float, Findings]:
        raised_ns = NOW_NS + int(second * SECOND)
        made = alert(
            kind="ceiling", verdict=None, alert_id=f"c{second}", raised_ns=raised_ns, **changes
        )
        return second, Findings(alerts=(made,))

    _, raised = run([act(0), act(10), act(20, category="UA05"), act(3_500), act(3_601)])
    assert [alert.alert_id for alert in raised] == ["c0", "c20", "c3601"]
    memory, (first,) = run([act(0)])
    assert firing(memory, first, NOW_NS + 3_599 * SECOND, PLAIN)
    assert not firing(memory, first, NOW_NS + 3_600 * SECOND, PLAIN)


def test_losses_and_tampering_are_alerts(verdict: MakeVerdict) -> None:
    gaps = (
        Gap(Partition("b", 0), 10, 19, "retention", NOW_NS),
        Gap(Partition("a", 1), 5, 5, "retention", NOW_NS),
    )
    conflict = Spans().span("x")
    _, raised = run([(s, Findings(gaps=gaps, conflicts=(conflict,))) for s in (0, 60, 4_000)])
    assert [alert.reference for alert in raised] == ["gap", "tampering"] * 2
    assert len({alert.alert_id for alert in raised}) == 4
    assert raised[0].summary == "11 records were lost before they could be read, of a, b"
    assert all(alert.subject == NOBODY and alert.severity == "high" for alert in raised)


def test_going_blind_is_one_alert_per_subject_and_reference(verdict: MakeVerdict) -> None:
    def all_of(state: VerdictState) -> Findings:
        every = [
            verdict(category=f"UA{n:02d}", state=state, reason="no args") for n in range(1, 17)
        ]
        return Findings(verdicts=every)

    _, raised = run([(0, all_of("clear")), (60, all_of("blind")), (120, all_of("blind"))])
    assert [alert.reference for alert in raised] == ["blind:teacher"]
    _, raised = run([(0, all_of("insufficient")), (60, all_of("blind"))])
    assert raised == []
    _, raised = run([(0, all_of("blind"))])
    assert raised == []


def test_a_restart_neither_repeats_nor_forgets(verdict: MakeVerdict) -> None:
    alarm, clear = Findings(verdicts=(verdict(),)), Findings(verdicts=(verdict(state="clear"),))
    _, raised = run([(0, alarm)])
    later = NOW_NS + 60 * SECOND
    memory = restore(raised, [verdict()], later, PLAIN)
    assert decide(memory, alarm, later, PLAIN)[1] == ()
    assert firing(memory, raised[0], later, PLAIN)
    memory, _ = decide(memory, clear, later, PLAIN)
    (again,) = decide(memory, alarm, later + 4_000 * SECOND, PLAIN)[1]
    assert again.alert_id not in {alert.alert_id for alert in raised}
    # Alerts that were never committed leave no trace: the old memory still raises them.
    assert decide(Memory(), alarm, NOW_NS, PLAIN)[1] == tuple(raised)


def test_memory_is_bounded_and_keeps_alarms_that_stand(verdict: MakeVerdict) -> None:
    small = Settings(cells=10)
    standing = (0.0, Findings(verdicts=(verdict(),)))
    events = [
        (float(n), Findings(gaps=(Gap(Partition("t", 0), n, n, "r", NOW_NS),))) for n in range(3)
    ]
    flood = [
        (
            float(n),
            Findings(
                verdicts=(
                    verdict(subject=Subject("", str(n), "", ""), state="alarm"),
                    verdict(subject=Subject("", str(n), "", ""), state="clear"),
                )
            ),
        )
        for n in range(1, 100)
    ]
    memory, _ = run([standing, *events, *flood], small)
    assert len(memory.raised) <= 10
    assert len(memory.states) <= 10
    assert any(cell.subject == verdict().subject for cell in memory.raised)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from(["alarm", "clear", "blind"]))))
def test_drift_alerts_are_at_least_a_cool_down_apart(
    changes: list[tuple[int, VerdictState]],
) -> None:
    second, steps = 0, list[tuple[float, Findings]]()
    for wait, state in changes:
        second += wait
        verdict = Verdict(
            Subject("", "a", "", ""), "UA01", "r", "teacher", state,
            1, 1, 0.1, 1.0, 0.0, 1.0, None, None, None,
        )  # fmt: skip
        steps.append((second, Findings(verdicts=(verdict,))))
    memory, raised = run(steps)
    drift = [alert for alert in raised if alert.kind == "drift"]
    for one, two in pairwise(drift):
        assert two.raised_ns - one.raised_ns >= PLAIN.cooldown_s * SECOND
    assert len({alert.alert_id for alert in raised}) == len(raised)
    if steps and changes[-1][1] == "alarm":
        assert firing(memory, drift[-1], NOW_NS + second * SECOND, PLAIN)


def test_ids_are_stable_and_of_the_whole_cell(verdict: MakeVerdict) -> None:
    cell = Cell("drift", Subject("a", "b", "c", "d"), "UA01", "r")
    assert alert_id(cell, 1) == alert_id(cell, 1)
    others = {alert_id(cell._replace(subject=Subject("a/b", "", "c", "d")), 1), alert_id(cell, 2)}
    assert alert_id(cell, 1) not in others


def test_texts_are_harmless(verdict: MakeVerdict) -> None:
    line = plain("a\nb\u202e\x00<!channel> {{ .X }} `rm` @all|x \ud800 " + "y" * 10_000)
    assert "\n" not in line
    assert not set(line) & set("<>{}`@|\u202e\x00\ud800")
    assert len(line) == 300
    assert "<" not in summary(verdict(reference="<script>", attribution="inherited"))
