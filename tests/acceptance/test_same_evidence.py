"""The same trajectories by every way in, stopped, started and killed: the same evidence to 1e-9."""

from pathlib import Path

import pytest

from benchmarks.kill import passed_judged, run_judged
from benchmarks.same_evidence import (
    PARTS,
    Judged,
    Stream,
    by_judge,
    by_replay,
    compared,
    equal,
    over_kafka,
    over_otlp,
    prepare,
    query,
    stored,
)

pytestmark = pytest.mark.shared

PAIR = "D04"
TRAJECTORIES = 120


@pytest.fixture(scope="module")
def stream(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    made = prepare(shared / "trajectories", PAIR, TRAJECTORIES, tmp_path_factory.mktemp("same"))
    assert made.trajectories == TRAJECTORIES
    return made


@pytest.fixture(scope="module")
def replayed(stream: Stream) -> Path:
    return by_replay(stream, "replay")


@pytest.fixture(scope="module")
def judged(replayed: Path) -> Judged:
    """What `telltale judge` says; every other way is compared with it."""
    found = by_judge(replayed, PAIR)
    assert found.alarms() > 0
    assert len(found.evidence) > TRAJECTORIES
    assert len(found.order) == TRAJECTORIES
    return found


def check(judged: Judged, found: Judged) -> None:
    figures = compared(judged, found)
    assert equal(figures), figures


def test_replay_with_the_baseline_promoted(judged: Judged, replayed: Path) -> None:
    check(judged, stored(replayed))


def test_the_daemon_over_otlp(stream: Stream, judged: Judged) -> None:
    check(judged, over_otlp(stream, "otlp"))


def test_the_daemon_started_again_half_way(stream: Stream, judged: Judged) -> None:
    check(judged, over_otlp(stream, "restarted", stop_after=TRAJECTORIES // 2 * 2 + 1))


@pytest.mark.kafka
def test_the_daemon_over_kafka(stream: Stream, judged: Judged, kafka_broker: str) -> None:
    check(judged, over_kafka(stream, "kafka", kafka_broker))
    # a backlog over four partitions must not look like silence
    assert query(PARTS, stream.data.parent / "kafka") == [{"parts": 0}]


@pytest.mark.kafka
def test_the_daemon_killed_while_it_judges(stream: Stream, kafka_broker: str) -> None:
    figures = run_judged(stream, kafka_broker, kills=5)
    assert passed_judged(figures), figures
    assert figures["alarms"] > 0
    assert figures["trajectories"] == TRAJECTORIES


def test_a_difference_is_told(judged: Judged) -> None:
    key = next(iter(judged.evidence))
    moved = dict(judged.evidence)
    moved[key] += 2e-9
    figures = compared(judged, Judged(judged.verdicts, moved, judged.order))
    assert not equal(figures)
    verdict = next(iter(judged.verdicts))
    other = {**judged.verdicts, verdict: {**judged.verdicts[verdict], "state": "blind"}}
    assert compared(judged, Judged(other, judged.evidence, judged.order))["differences"]
    turned = Judged(judged.verdicts, judged.evidence, tuple(reversed(judged.order)))
    assert compared(judged, turned)["differences"] == ["the order of the trajectories"]
