"""SIGKILLs the daemon while spans flow through Kafka; every span id must be stored exactly once.

    python benchmarks/kill.py [--kills 20] [--spans 200000] [--kafka HOST:PORT]

Without `--kafka` a real broker is started. Prints one JSON document; exit 1 if a span was lost or
doubled, or if the last SIGTERM did not end the daemon with 0 within 30 s.
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
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from benchmarks.commands import telltale
from benchmarks.span_load import SPANS, requests
from tests.kafka_broker import Broker

TOPIC = "otlp_spans"
PARTITIONS = 4


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


def produce(address: str, spans: int) -> set[str]:
    """Create the topic, send about `spans` spans zstd-compressed without a key; their span ids."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name=TOPIC, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=address, compression_type="zstd", acks="all")
    ids: set[str] = set()
    for request in requests(-(-spans // SPANS)):
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                ids.update(span.trace_id.hex() + span.span_id.hex() for span in scope_spans.spans)
        producer.send(TOPIC, request.SerializeToString())
    producer.flush()
    producer.close()
    return ids


def start(config: Path, output: Path) -> subprocess.Popen[bytes]:
    """The daemon as a process of its own."""
    with output.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "telltale", "run", "--config", str(config)],
            stdout=log,
            stderr=log,
        )


def stored(data: Path) -> dict[str, int]:
    """Rows and distinct ids of the stored spans, with the daemon running or not."""
    text = telltale(
        "query",
        "SELECT count(*) AS rows, count(DISTINCT trace_id || span_id) AS ids FROM spans",
        "--format",
        "json",
        data=data,
    )
    rows: list[dict[str, int]] = json.loads(text)
    return rows[0]


def run(folder: Path, address: str, kills: int, spans: int) -> dict[str, object]:
    """The whole test in `folder`; its figures."""
    data = folder / "data"
    config = folder / "telltale.yaml"
    config.write_text(
        json.dumps(
            {
                "data": str(data),
                "kafka": {"bootstrap_servers": [address], "topics": [TOPIC]},
                "otlp": {"http": None, "grpc": None},
                "api": {"listen": f"127.0.0.1:{free_port()}"},
            }
        )
    )
    ids = produce(address, spans)
    chance = random.Random(7)
    for _ in range(kills):
        daemon = start(config, folder / "daemon.log")
        time.sleep(chance.uniform(0.5, 6.0))
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    daemon = start(config, folder / "daemon.log")
    deadline = time.monotonic() + 600
    counts = {"rows": 0, "ids": 0}
    while time.monotonic() < deadline and counts["ids"] < len(ids):
        time.sleep(2)
        if (data / "telltale.duckdb").exists():
            counts = stored(data)
    before = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    code = daemon.wait(timeout=60)
    return {
        "kills": kills,
        "produced": len(ids),
        **stored(data),
        "sigterm_exit": code,
        "sigterm_s": round(time.monotonic() - before, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--kafka", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, broker(options.kafka) as address:
        figures = run(Path(name), address, options.kills, options.spans)
        if figures["rows"] != figures["produced"]:
            print((Path(name) / "daemon.log").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(figures))
    exact = figures["rows"] == figures["ids"] == figures["produced"]
    ended = figures["sigterm_exit"] == 0 and float(str(figures["sigterm_s"])) <= 30
    return 0 if exact and ended else 1


if __name__ == "__main__":
    sys.exit(main())
