"""The same trajectories judged over every way in: the evidence must be equal to 1e-9.

    python -m benchmarks.same_evidence FOLDER [--pair D07] [--trajectories 300] [--kafka HOST:PORT]

FOLDER is laid out as ../shared/trajectories. A baseline is fitted on the pair's teacher and
promoted; the student's spans, each trajectory in two requests, are judged by `telltale judge` over
what `telltale replay` stored, by that replay itself, by the daemon over OTLP/HTTP, by a daemon
stopped and started half-way within a trajectory, and by the daemon over Kafka (a real broker is
started where none is given). Prints one JSON document; exit 1 where evidence differs.
`benchmarks/kill.py --judged FOLDER` adds the daemon that is killed.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.commands import telltale
from benchmarks.daemon import Daemon, free_port
from benchmarks.kafka_records import broker, create_topic, send, timed
from benchmarks.trajectories import Folder, payloads, read_pairs
from contracts.trajectory import Trajectory

TEACHER, STUDENT = "teacher", "student"
AGENT = "desk"
"""A name that is told from a tool's span too, so that half a trajectory has its subject."""
JUDGED_S = 300.0
CLOSE = 1e-9
EXACT = (
    "state", "opportunities", "taken", "alarm_at", "onset", "needed", "calibrated_at",
    "first_opportunities", "first_taken",
)  # fmt: skip
NUMBERS = (
    "expected", "evidence_log10", "rate_lower", "rate_upper", "e_value_log10", "first_lower",
    "first_upper", "first_log10",
)  # fmt: skip
"""All that evidence decides. Not the drift of shape, which looks at a trajectory's first part."""
VERDICTS = f"SELECT subject, category, reference, {', '.join((*EXACT, *NUMBERS))} FROM verdicts"
EVIDENCE = "SELECT trajectory_id, category, reference, evidence_log10 FROM evidence"
PROGRESS = (
    "SELECT sum(judged_calls) AS judged, count(*) AS trajectories FROM trajectories "
    f"WHERE environment = '{STUDENT}'"
)
PARTS = (
    "SELECT count(DISTINCT trajectory_id) AS parts FROM (SELECT trajectory_id FROM evidence "
    "GROUP BY trajectory_id, category, reference HAVING count(*) > 1)"
)

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of judging. `verdicts` by (subject, category, reference); `evidence` by
    (trajectory, category, reference), log10 after its last part; `order`: of the trajectories.
    """

    verdicts: dict[Key, dict[str, Any]]
    evidence: dict[Key, float]
    order: tuple[str, ...]

    def alarms(self) -> int:
        return sum(row["state"] == "alarm" for row in self.verdicts.values())


@dataclass(frozen=True, slots=True)
class Stream:
    """`data`: a folder with the promoted baseline; `requests`: the student's, in time order."""

    data: Path
    requests: list[bytes]
    trajectories: int
    calls: int

    def copy(self, name: str) -> Path:
        """A data folder of its own for a way of judging."""
        return Path(shutil.copytree(self.data, self.data.parent / name))


def prepare(folder: Path, pair: str, trajectories: int, work: Path) -> Stream:
    """Fit and promote the pair's teacher; at most `trajectories` of the student."""
    chosen = next(each for each in read_pairs(folder) if each.id == pair)
    source = Folder(folder)
    path, data = work / "teacher.jsonl", work / "promoted"
    path.write_bytes(b"\n".join(payloads(_named(source.select(chosen.teacher, TEACHER)))))
    telltale("replay", str(path), data=data)
    telltale(
        "baseline", "fit", "--name", pair, "--kind", "teacher",
        "--where", f"environment = '{TEACHER}'", data=data,
    )  # fmt: skip
    telltale("baseline", "promote", pair, "--for", f"{STUDENT}/*", data=data)
    students = _named(source.select(chosen.student, STUDENT)[:trajectories])
    students.sort(key=lambda each: each.ended_ns)
    return Stream(data, list(halves(students)), len(students), sum(map(_calls, students)))


def _named(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    return [replace(each, agent=AGENT) for each in trajectories]


def _calls(trajectory: Trajectory) -> int:
    return len(trajectory.calls)


def halves(trajectories: Sequence[Trajectory]) -> Iterator[bytes]:
    """Two OTLP/JSON requests a trajectory: half its calls, then the others and the agent's span."""
    for payload in payloads(trajectories, per_payload=1):
        document: dict[str, Any] = json.loads(payload)
        (scope,) = document["resourceSpans"][0]["scopeSpans"]
        spans = scope["spans"]
        cut = len(spans) // 2
        for part in (spans[:cut], spans[cut:]):
            scope["spans"] = part
            yield json.dumps(document).encode()


def stored(data: Path) -> Judged:
    """What a daemon or a replay stored in `data`."""
    rows = query(VERDICTS, data)
    evidence = {
        (row["trajectory_id"], row["category"], row["reference"]): float(row["evidence_log10"])
        for row in query(EVIDENCE, data)
    }
    order = tuple(dict.fromkeys(identity for identity, _, _ in evidence))
    return Judged({_key(row): row for row in rows}, evidence, order)


def by_judge(data: Path, reference: str) -> Judged:
    """What `telltale judge --json` says of the stored student."""
    text = telltale(
        "judge", "--where", f"environment = '{STUDENT}'", "--reference", reference, "--json",
        data=data, expect=(0, 1, 2),
    )  # fmt: skip
    lines = [json.loads(line) for line in text.splitlines()]
    evidence = {
        (line["trajectory_id"], category, name): float(value)
        for line in lines
        if "state" not in line
        for category, values in line["evidence"].items()
        for name, value in values.items()
    }
    order = tuple(line["trajectory_id"] for line in lines if "state" not in line)
    return Judged({_key(row): row for row in lines if "state" in row}, evidence, order)


def compared(one: Judged, other: Judged) -> dict[str, Any]:
    """`largest_difference` of any number, and `differences` that are none: fields and rows."""
    differences = [f"verdict {key}" for key in one.verdicts.keys() ^ other.verdicts.keys()]
    differences += [f"evidence {key}" for key in one.evidence.keys() ^ other.evidence.keys()]
    if one.order != other.order:
        differences.append("the order of the trajectories")
    largest = 0.0
    for key in one.verdicts.keys() & other.verdicts.keys():
        mine, theirs = one.verdicts[key], other.verdicts[key]
        differences += [
            f"{key} {name}: {mine[name]}, {theirs[name]}"
            for name in EXACT
            if mine[name] != theirs[name]
        ]
        largest = max(largest, *(abs(float(mine[n]) - float(theirs[n])) for n in NUMBERS))
    for row in one.evidence.keys() & other.evidence.keys():
        largest = max(largest, abs(one.evidence[row] - other.evidence[row]))
    return {"largest_difference": largest, "differences": differences[:20]}


def equal(figures: dict[str, Any]) -> bool:
    """Whether nothing differs by more than `CLOSE`."""
    return not figures["differences"] and figures["largest_difference"] <= CLOSE


def wait_judged(data: Path, calls: int) -> None:
    """Until the daemon on `data` has judged so many calls. Raises `TimeoutError`."""
    deadline = time.monotonic() + JUDGED_S
    judged = 0
    while time.monotonic() < deadline:
        rows = query(PROGRESS, data)
        judged = int(rows[0]["judged"] or 0) if rows else 0
        if judged >= calls:
            return
        time.sleep(1.0)
    raise TimeoutError(f"{judged} of {calls} calls judged after {JUDGED_S:.0f} s")


def over_otlp(stream: Stream, name: str, stop_after: int = 0) -> Judged:
    """The daemon over OTLP/HTTP, a request at a time; stopped and started after `stop_after`."""
    address = f"127.0.0.1:{free_port()}"
    daemon = Daemon(
        stream.copy(name),
        {"otlp": {"http": address, "grpc": None}, "trajectories": {"idle_timeout_s": 3}},
    )
    daemon.start()
    daemon.wait_ready()
    for number, request in enumerate(stream.requests):
        if number == stop_after and number:
            stop(daemon)
            daemon.start()
            daemon.wait_ready()
        _post(address, request)
    wait_judged(daemon.data, stream.calls)
    stop(daemon)
    return stored(daemon.data)


def over_kafka(stream: Stream, name: str, address: str) -> Judged:
    """The daemon over Kafka: all records lie there when it starts."""
    topic = create_topic(address)
    send(address, topic, timed(stream.requests))
    daemon = Daemon(
        stream.copy(name), {"kafka": {"bootstrap_servers": [address], "topics": [topic]}}
    )
    daemon.start()
    daemon.wait_ready()
    wait_judged(daemon.data, stream.calls)
    stop(daemon)
    return stored(daemon.data)


def by_replay(stream: Stream, name: str) -> Path:
    """`telltale replay` with the promoted baseline; its data folder."""
    path = stream.data.parent / "student.jsonl"
    path.write_bytes(b"\n".join(stream.requests))
    data = stream.copy(name)
    telltale("replay", str(path), data=data)
    return data


def _post(address: str, request: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    message = urllib.request.Request(f"http://{address}/v1/traces", request, headers)
    for _ in range(60):
        try:
            with urllib.request.urlopen(message, timeout=60):
                return
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise
            time.sleep(1.0)
    raise TimeoutError("the daemon takes no request")


def stop(daemon: Daemon) -> None:
    """End it as an operator does. Raises `RuntimeError` for another exit code than 0."""
    code = daemon.end(signal.SIGTERM)
    if code:
        raise RuntimeError(f"the daemon ended with {code}: {daemon.log.read_text()[-2000:]}")


def query(sql: str, data: Path) -> list[dict[str, Any]]:
    """The rows of a query, with a daemon running on `data` or not."""
    rows: list[dict[str, Any]] = json.loads(telltale("query", sql, "--json", data=data))
    return rows


def _key(row: dict[str, Any]) -> Key:
    return str(row["subject"]), str(row["category"]), str(row["reference"])


def run(
    folder: Path, pair: str, trajectories: int, kafka: str | None, work: Path
) -> dict[str, Any]:
    """Every way in; each one's differences from `judge`."""
    stream = prepare(folder, pair, trajectories, work)
    replayed = by_replay(stream, "replay")
    judged = by_judge(replayed, pair)
    half = len(stream.requests) // 4 * 2 + 1  # within a trajectory
    ways = {
        "replay": stored(replayed),
        "otlp": over_otlp(stream, "otlp"),
        "restarted": over_otlp(stream, "restarted", half),
    }
    with broker(kafka) as address:
        ways["kafka"] = over_kafka(stream, "kafka", address)
    return {
        "pair": pair,
        "trajectories": stream.trajectories,
        "calls": stream.calls,
        "evidence_rows": len(judged.evidence),
        "alarms": judged.alarms(),
        **{name: compared(judged, way) for name, way in ways.items()},
    }


def passed(figures: dict[str, Any]) -> bool:
    """Whether evidence is equal over every way in."""
    ways: Sequence[Any] = [each for each in figures.values() if isinstance(each, dict)]
    return all(map(equal, ways))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pair", default="D07")
    parser.add_argument("--trajectories", type=int, default=300)
    parser.add_argument("--kafka", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="telltale-same-") as name:
        figures = run(options.folder, options.pair, options.trajectories, options.kafka, Path(name))
    print(json.dumps(figures, indent=1))
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
