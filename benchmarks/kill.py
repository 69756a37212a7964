"""SIGKILLs the daemon while spans flow through Kafka; every span id must be stored exactly once.

    python benchmarks/kill.py [--kills 20] [--spans 200000] [--kafka HOST:PORT]

Without `--kafka` a real broker is started. Every fourth kill falls into the daemon's start, the
others 0.2 to 6 s after it serves. Prints one JSON document; exit 1 if a span was lost or doubled,
or if a SIGTERM while spans still flow did not end the daemon with 0 within 30 s.
"""

import argparse
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from benchmarks.commands import telltale
from benchmarks.span_load import SPANS, requests
from tests.kafka_broker import Broker

PARTITIONS = 4
START_S, READ_S, STOP_S = 120.0, 900.0, 60.0
SPANS_SQL = "SELECT count(*) AS rows, count(DISTINCT trace_id || span_id) AS ids FROM spans"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def broker(address: str | None) -> Generator[str]:
    """`address`, or that of a broker started for as long as the context lasts."""
    if address:
        yield address
        return
    with Broker() as started:
        yield started.address


def produce(address: str, topic: str, spans: int) -> set[str]:
    """Create the topic, send about `spans` spans zstd-compressed without a key; their span ids."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()
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


class Daemon:
    """The daemon as a process of its own on `folder`, reading `topic`."""

    def __init__(self, folder: Path, address: str, topic: str) -> None:
        self.data = folder / "data"
        self.log = folder / "daemon.log"
        self._config = folder / "telltale.yaml"
        self._api = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(
            json.dumps(
                {
                    "data": str(self.data),
                    "kafka": {"bootstrap_servers": [address], "topics": [topic]},
                    "otlp": {"http": None, "grpc": None},
                    "api": {"listen": self._api},
                }
            )
        )

    def start(self) -> None:
        """Start the process; it does not serve yet."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "telltale", "run", "--config", str(self._config)],
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Until it serves. Raises `TimeoutError`, `RuntimeError` where it ended."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process is not None, "not started"
            if self._process.poll() is not None:
                raise RuntimeError(f"the daemon ended: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://{self._api}/healthz", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        raise TimeoutError("the daemon does not serve")

    def end(self, number: signal.Signals) -> int:
        """Send the signal; the exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)
        return self._process.wait(STOP_S)

    def stored(self) -> dict[str, int]:
        """Rows and distinct ids of the stored spans, with the daemon running or not."""
        if not (self.data / "telltale.duckdb").exists():
            return {"rows": 0, "ids": 0}
        text = telltale("query", SPANS_SQL, "--format", "json", data=self.data)
        rows: list[dict[str, int]] = json.loads(text)
        return rows[0]


def run(folder: Path, address: str, kills: int, spans: int) -> dict[str, object]:
    """The whole test in `folder`; its figures."""
    topic = f"spans-{uuid.uuid4().hex[:8]}"
    daemon = Daemon(folder, address, topic)
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
    between = daemon.stored()
    daemon.start()
    daemon.wait_ready()
    time.sleep(2.0)
    before = time.monotonic()
    code = daemon.end(signal.SIGTERM)
    stopped_s = time.monotonic() - before
    daemon.start()
    daemon.wait_ready()
    deadline = time.monotonic() + READ_S
    while time.monotonic() < deadline and daemon.stored()["ids"] < len(ids):
        time.sleep(2)
    idle_code = daemon.end(signal.SIGTERM)
    return {
        "kills": kills,
        "produced": len(ids),
        "stored_after_kills": between["ids"],
        **daemon.stored(),
        "sigterm_exit": max(code, idle_code, key=abs),
        "sigterm_s": round(stopped_s, 2),
        "first_start_s": round(starts[0], 1),
        "last_start_s": round(starts[-1], 1),
        "problems": json.loads(telltale("verify", "--json", data=daemon.data, expect=(0, 1)))[
            "problems"
        ],
    }


def passed(figures: dict[str, object]) -> bool:
    """Whether every span is there once and the daemon ended as it should."""
    exact = figures["rows"] == figures["ids"] == figures["produced"] and not figures["problems"]
    return exact and figures["sigterm_exit"] == 0 and float(str(figures["sigterm_s"])) <= 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--kafka", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, broker(options.kafka) as address:
        figures = run(Path(name), address, options.kills, options.spans)
        if not passed(figures):
            print((Path(name) / "daemon.log").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(figures))
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
