"""SIGKILLs the daemon while spans flow through Kafka; every span id must be stored exactly once.

    python -m benchmarks.kill [--kills 20] [--spans 200000] [--kafka HOST:PORT]
    python -m benchmarks.kill --judged FOLDER [--pair D07] [--trajectories 500] [--kills 20]

Without `--kafka` a real broker is started. Every fourth kill falls into the daemon's start, the
others soon after it serves. Prints one JSON document; exit 1 if a span was lost or doubled, or if a
SIGTERM while spans still flow did not end the daemon with 0 within 30 s.

With `--judged` the spans are those of the pair's student (`benchmarks.same_evidence`), judged
against a promoted baseline; before each kill some more of them are written. Exit 1 if the evidence
differs by more than 1e-9 from that of a daemon that was never killed.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from kafka import KafkaProducer  # type: ignore[import-untyped]  # ships no types

from benchmarks import same_evidence
from benchmarks.commands import telltale
from benchmarks.daemon import Daemon
from benchmarks.kafka_records import Timed, broker, create_topic, send, timed
from benchmarks.span_load import SPANS, requests

READ_S = 900.0
SPANS_SQL = "SELECT count(*) AS rows, count(DISTINCT trace_id || span_id) AS ids FROM spans"
JUDGES_S = 0.5, 6.0
"""After it serves, when a daemon that judges is killed: it reaches Kafka, then reads and judges."""


def produce(address: str, topic: str, spans: int) -> set[str]:
    """Send about `spans` spans zstd-compressed without a key; their span ids."""
    producer = KafkaProducer(bootstrap_servers=address, compression_type="zstd", acks="all")
    ids: set[str] = set()
    for request in requests(-(-spans // SPANS)):
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                ids.update(span.trace_id.hex() + span.span_id.hex() for span in scope_spans.spans)
        producer.send(topic, request.SerializeToString())
    producer.flush()
    producer.close()
    return ids


def _reads(address: str, topic: str) -> dict[str, Any]:
    return {"kafka": {"bootstrap_servers": [address], "topics": [topic]}}


def _stored(daemon: Daemon) -> dict[str, int]:
    """Rows and distinct ids of the stored spans, with the daemon running or not."""
    rows = daemon.query(SPANS_SQL)
    return rows[0] if rows else {"rows": 0, "ids": 0}


def run(folder: Path, address: str, kills: int, spans: int) -> dict[str, Any]:
    """The whole test in `folder`; its figures."""
    topic = create_topic(address)
    daemon = Daemon(folder / "data", _reads(address, topic))
    ids = produce(address, topic, spans)
    chance = random.Random(7)
    starts: list[float] = []
    for kill in range(kills):
        daemon.start()
        if kill % 4 == 3:
            time.sleep(chance.uniform(0.5, 3.0))
        else:
            before = time.monotonic()
            daemon.wait_ready()
            starts.append(time.monotonic() - before)
            time.sleep(chance.uniform(0.2, 6.0))
        daemon.end(signal.SIGKILL)
    between = _stored(daemon)
    daemon.start()
    daemon.wait_ready()
    time.sleep(2.0)
    before = time.monotonic()
    code = daemon.end(signal.SIGTERM)
    stopped_s = time.monotonic() - before
    daemon.start()
    daemon.wait_ready()
    deadline = time.monotonic() + READ_S
    while time.monotonic() < deadline and _stored(daemon)["ids"] < len(ids):
        time.sleep(2)
    idle_code = daemon.end(signal.SIGTERM)
    return {
        "kills": kills,
        "produced": len(ids),
        "stored_after_kills": between["ids"],
        **_stored(daemon),
        "sigterm_exit": max(code, idle_code, key=abs),
        "sigterm_s": round(stopped_s, 2),
        "first_start_s": round(starts[0], 1),
        "last_start_s": round(starts[-1], 1),
        "problems": json.loads(telltale("verify", "--json", data=daemon.data, expect=(0, 1)))[
            "problems"
        ],
    }


def passed(figures: dict[str, Any]) -> bool:
    """Whether every span is there once and the daemon ended as it should."""
    exact = figures["rows"] == figures["ids"] == figures["produced"] and not figures["problems"]
    return bool(exact and figures["sigterm_exit"] == 0 and figures["sigterm_s"] <= 30)


def _slices(
    records: Sequence[Timed], count: int, chance: random.Random
) -> Iterator[Sequence[Timed]]:
    """The records in `count` runs of random length, cut anywhere."""
    cuts = sorted(chance.sample(range(1, len(records)), count - 1))
    for start, end in pairwise([0, *cuts, len(records)]):
        yield records[start:end]


def run_judged(stream: same_evidence.Stream, address: str, kills: int) -> dict[str, Any]:
    """The same student judged by a daemon killed `kills` times and by one never killed."""
    whole = same_evidence.over_kafka(stream, "whole", address)
    topic = create_topic(address)
    daemon = Daemon(stream.copy("killed"), _reads(address, topic))
    chance = random.Random(7)
    judged: list[int] = []
    for kill, records in enumerate(_slices(timed(stream.requests), kills, chance)):
        send(address, topic, records)
        daemon.start()
        if kill % 4 == 3:
            time.sleep(chance.uniform(0.5, 3.0))
        else:
            daemon.wait_ready()
            time.sleep(chance.uniform(*JUDGES_S))
        daemon.end(signal.SIGKILL)
        judged.append(int(daemon.query(same_evidence.PROGRESS)[0]["judged"] or 0))
    daemon.start()
    daemon.wait_ready()
    same_evidence.wait_judged(daemon.data, stream.calls)
    same_evidence.stop(daemon)
    found = same_evidence.stored(daemon.data)
    return {
        "kills": kills,
        "trajectories": stream.trajectories,
        "calls": stream.calls,
        "calls_judged_at_kills": judged,
        "judged_in_parts": daemon.query(same_evidence.PARTS)[0]["parts"],
        "evidence_rows": len(found.evidence),
        "alarms": found.alarms(),
        **_stored(daemon),
        **same_evidence.compared(whole, found),
    }


def passed_judged(figures: dict[str, Any]) -> bool:
    """Whether the evidence is equal and every span is there once."""
    return same_evidence.equal(figures) and figures["rows"] == figures["ids"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--kafka", default=None)
    parser.add_argument("--judged", type=Path, default=None, metavar="FOLDER")
    parser.add_argument("--pair", default="D07")
    parser.add_argument("--trajectories", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, broker(options.kafka) as address:
        work = Path(name)
        if options.judged:
            stream = same_evidence.prepare(options.judged, options.pair, options.trajectories, work)
            figures = run_judged(stream, address, options.kills)
            good = passed_judged(figures)
        else:
            figures = run(work, address, options.kills, options.spans)
            good = passed(figures)
        if not good:
            for log in work.glob("*.log"):
                print(log.read_text()[-4000:], file=sys.stderr)
    print(json.dumps(figures))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
