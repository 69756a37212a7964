"""CPU microseconds a span with everything on, beside the bare protobuf parse of the same bytes.

    python -m benchmarks.ingest [--spans 100000] [--rounds 5] [--json]

Everything: decode, redact, join, label, hazards and tests against a promoted baseline, one DuckDB
transaction a batch, checkpoint. Kafka's fetch is not in it. `parse`: `FromString` of the stock
classes over the same payloads. Both in one process, interleaved, medians of the rounds.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.span_load import SPANS, requests
from contracts.clock import SystemClock
from contracts.record import Partition, Position, Record
from detectors.baseline import FitSettings, fit_baseline
from storage.store import Store
from telltale import references
from telltale.config import Settings, load
from telltale.pipeline import Pipeline
from telltale.stages import rule_pack, stages

PAYLOADS = 50
"""Of one batch: about 5,000 spans."""


def records(payloads: Sequence[bytes], first: int) -> list[Record]:
    """As the Kafka source hands them over."""
    now = SystemClock().now_ns()
    return [
        Record(
            payload,
            "traces",
            "otlp_proto",
            "kafka:otlp_spans",
            now,
            Position(Partition("otlp_spans", 0), first + index),
            index,
        )
        for index, payload in enumerate(payloads)
    ]


def batches(payloads: Sequence[bytes]) -> Iterator[list[Record]]:
    for first in range(0, len(payloads), PAYLOADS):
        yield records(payloads[first : first + PAYLOADS], first)


def ingest(settings: Settings, store: Store, payloads: Sequence[bytes]) -> None:
    """Commit all payloads and judge every trajectory."""
    pipeline = Pipeline(stages(settings, store, rule_pack(settings)), store)
    clock = SystemClock()
    for batch in batches(payloads):
        now = clock.now_ns()
        store.commit(pipeline.process(batch, (), now, now).changes)
        pipeline.committed()
    now = clock.now_ns()
    store.commit(pipeline.process((), (), now, now, everything_due=True).changes)
    pipeline.committed()


def parse(payloads: Sequence[bytes]) -> float:
    """CPU seconds of the bare parse."""
    before = time.process_time()
    for payload in payloads:
        ExportTraceServiceRequest.FromString(payload)
    return time.process_time() - before


def reference(settings: Settings, store: Store) -> None:
    """A promoted baseline fitted on load of another seed."""
    payloads = [r.SerializeToString() for r in requests(600, seed=2, model="load-teacher")]
    ingest(settings, store, payloads)
    labeller = rule_pack(settings)
    fit = FitSettings(parent=settings.data / references.FOLDER, created_ns=0)
    where = "model = 'load-teacher'"
    _, info = fit_baseline("load", "teacher", store.trajectories(where), labeller, where, fit)
    store.add_baseline(info)
    store.promote("load", "*/load-8b")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    trajectories = -(-options.spans // SPANS)
    whole: list[float] = []
    bare: list[float] = []
    for number in range(options.rounds):
        payloads = [r.SerializeToString() for r in requests(trajectories, seed=10 + number)]
        spans = trajectories * SPANS
        with tempfile.TemporaryDirectory() as name:
            settings = load(data=Path(name))
            store = Store(settings.data, SystemClock(), settings.storage)
            reference(settings, store)
            bare.append(parse(payloads) / spans * 1e6)
            before = time.process_time()
            ingest(settings, store, payloads)
            store.close()  # folds the log into the file: the checkpoint belongs to the cost
            whole.append((time.process_time() - before) / spans * 1e6)
    ratios = [a / b for a, b in zip(whole, bare, strict=True)]
    figures = {
        "spans": spans,
        "bytes_a_span": sum(map(len, payloads)) / spans,
        "parse_us": statistics.median(bare),
        "everything_us": statistics.median(whole),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"parse 1.00 ({figures['parse_us']:.2f} us/span), "
            f"everything {figures['ratio']:.1f} ({figures['everything_us']:.1f} us/span), "
            f"{options.rounds} rounds {min(ratios):.1f} to {max(ratios):.1f}, "
            f"{figures['bytes_a_span']:.0f} B/span"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
