"""Payloads to a running daemon's OTLP/HTTP receiver, each answered after its commit."""

import time
from collections.abc import Callable, Iterable, Mapping

import httpx2
import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from contracts.errors import RetryableError
from contracts.record import Record
from telltale.replay import Counts

TIMEOUT_S = 60.0
TRIES = 10
"""With the receiver's `Retry-After` of a second, ten tries outlast any commit."""


def send(
    records: Iterable[Record], daemon: Mapping[str, str], progress: Callable[[int], None]
) -> Counts:
    """Send all; counts of what the daemon said it rejected, not of what it made of the rest.

    `daemon`: its marker. Raises `RetryableError` where it does not receive over HTTP or stays busy.
    """
    url = daemon.get("otlp_http", "")
    if not url:
        raise RetryableError("the running daemon does not receive OTLP over HTTP (otlp.http)")
    counts = Counts()
    with httpx2.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for record in records:
            response = _post(client, record)
            counts.payloads += 1
            if response.is_success:
                counts.dead_letters += _rejected(response)
            else:
                counts.dead_letters += 1
            progress(1)
    return counts


def _post(client: httpx2.Client, record: Record) -> httpx2.Response:
    is_json = record.encoding == "otlp_json" or record.payload.lstrip()[:1] == b"{"
    kind = "application/json" if is_json else "application/x-protobuf"
    for _ in range(TRIES):
        try:
            response = client.post(
                f"/v1/{record.signal}",
                content=record.payload,
                headers={"Content-Type": kind},
            )
        except httpx2.HTTPError as error:
            raise RetryableError(f"the running daemon does not answer: {error}") from error
        if response.status_code not in (429, 503):
            return response
        time.sleep(min(5.0, float(response.headers.get("Retry-After", "1"))))
    raise RetryableError("the running daemon stays busy")


def _rejected(response: httpx2.Response) -> int:
    if "json" in response.headers.get("Content-Type", ""):
        partial = orjson.loads(response.content).get("partialSuccess", {})
        return int(partial.get("rejectedSpans", 0)) + int(partial.get("rejectedLogRecords", 0))
    # the two signals' answers have the same wire form
    return ExportTraceServiceResponse.FromString(response.content).partial_success.rejected_spans
