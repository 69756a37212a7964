"""Decoding against the stock classes, and everything that arrives broken."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from collector.config import DecodeLimits
from collector.otlp import decode
from contracts.record import Partition, Position
from contracts.span import Event, LogEvent, Span
from tests.otlp_payloads import (
    any_value,
    key_values,
    one,
    otlp_json,
    record_of,
    span_fields,
    traces_data,
)

KAFKA = Position(Partition("otlp_spans", 0), 41)


@pytest.fixture
def payload() -> bytes:
    """Three spans as protobuf."""
    return traces_data([span_fields(n) for n in (1, 2, 3)]).SerializeToString()


def test_a_span_with_all_fields() -> None:
    data = traces_data(
        [
            span_fields(
                9,
                parent_span_id=b"\1" * 8,
                dropped_attributes_count=2,
                dropped_events_count=3,
                dropped_links_count=4,
                attributes={
                    "text": "grüße",
                    "empty": "",
                    "yes": True,
                    "no": False,
                    "int": -(2**63),
                    "half": 0.5,
                    "whole": 2.0,
                    "raw": b"\0\xff",
                    "list": [1, "a", None, [2.5]],
                    "map": {"b": {"c": 1}, "a": []},
                    "nothing": None,
                },
                events=[("exception", 5, {"exception.message": "no"})],
            )
        ]
    )
    span = data.resource_spans[0].scope_spans[0].spans[0]
    span.status.code, span.status.message = Status.STATUS_CODE_ERROR, "failed"
    span.events[0].dropped_attributes_count = 1
    expected = Span(
        trace_id="07" * 15 + "09",
        span_id="0000000000000009",
        parent_span_id="01" * 8,
        name="execute_tool 9",
        kind=3,
        start_ns=1_767_225_600_000_000_009,
        end_ns=1_767_225_600_000_001_009,
        status_code=2,
        status_message="failed",
        scope="tests",
        resource={"service.name": "billing"},
        attributes={
            "empty": "",
            "half": 0.5,
            "int": -(2**63),
            "list": [1, "a", None, [2.5]],
            "map": {"a": [], "b": {"c": 1}},
            "no": False,
            "nothing": None,
            "raw": b"\0\xff",
            "text": "grüße",
            "whole": 2.0,
            "yes": True,
        },
        events=(Event("exception", 5, {"exception.message": "no"}),),
        dropped=10,
        flags=(),
        digest="",
        source="replay",
        received_ns=1_767_225_600_000_000_000,
    )
    for payload in (data.SerializeToString(), otlp_json(data)):
        (decoded,) = one(payload).spans
        assert replace(decoded, digest="") == expected
        assert list(decoded.attributes) == sorted(expected.attributes)
        assert isinstance(decoded.attributes["whole"], float)
        assert len(decoded.digest) == 32
    assert one(data.SerializeToString()).spans == one(otlp_json(data)).spans


def test_a_span_is_frozen_like_any_other(payload: bytes) -> None:
    span = one(payload).spans[0]
    assert type(span) is Span
    with pytest.raises(AttributeError):
        span.name = "x"  # type: ignore[misc]  # that it is refused is the point


CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"kind": 1},
    {"parent_span_id": b"\2" * 8},
    {"start_time_unix_nano": 5},
    {"end_time_unix_nano": 2**64 - 1},
    {"attributes": {"gen_ai.tool.name": "read_file", "n": 2}},
    {"attributes": {"gen_ai.tool.name": "read_file", "n": 1.0}},
    {"attributes": {"gen_ai.tool.name": "read_file", "n": "1"}},
    {"attributes": {"gen_ai.tool.name": "read_file", "n": True}},
    {"attributes": {"gen_ai.tool.name": "read_file"}},
    {"dropped_links_count": 1},
    {"events": [("e", 1, {})]},
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_content_has_another_digest(change: dict[str, Any]) -> None:
    plain = one(traces_data([span_fields(1)]).SerializeToString()).spans[0]
    other = one(traces_data([span_fields(1, **change)]).SerializeToString()).spans[0]
    assert plain.digest != other.digest


def test_a_changed_resource_is_another_span() -> None:
    mine = traces_data([span_fields(1)], {"service.name": "a"}).SerializeToString()
    yours = traces_data([span_fields(1)], {"service.name": "b"}).SerializeToString()
    assert one(mine).spans[0].digest != one(yours).spans[0].digest


def test_what_is_cut_still_counts_for_the_digest() -> None:
    limits = DecodeLimits(value_chars=10, key_chars=10)
    spans = [
        decode(
            [record_of(traces_data([span_fields(1, attributes={"a": text})]).SerializeToString())],
            limits,
        )[0].spans[0]
        for text in ("x" * 100, "x" * 99 + "y")
    ]
    assert spans[0].attributes == spans[1].attributes == {"a": "x" * 10}
    assert spans[0].flags == ("value_cut",)
    assert spans[0].digest != spans[1].digest


def test_the_last_of_a_repeated_key_wins() -> None:
    data = traces_data([span_fields(1, attributes={"a": 1})])
    span = data.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.extend(key_values({"a": 2}))
    for payload in (data.SerializeToString(), otlp_json(data)):
        assert one(payload).spans[0].attributes == {"a": 2}


def test_logs_in_both_encodings() -> None:
    data = LogsData()
    group = data.resource_logs.add()
    group.resource.attributes.extend(key_values({"service.name": "claude-code"}))
    scope = group.scope_logs.add()
    scope.scope.name = "events"
    log = scope.log_records.add(observed_time_unix_nano=7, trace_id=b"\1" * 16, span_id=b"\2" * 8)
    log.body.CopyFrom(any_value("claude_code.tool_result"))
    log.attributes.extend(key_values({"event.name": "tool_result", "tool_name": "Bash"}))
    named = scope.log_records.add(time_unix_nano=8, event_name="gen_ai.choice")
    named.body.CopyFrom(any_value({"message": {"role": "assistant"}}))
    bare = scope.log_records.add(time_unix_nano=9)
    bare.body.CopyFrom(any_value("text alone"))
    text = json.dumps(
        {
            "resourceLogs": [
                {
                    "resource": {
                        "attributes": [
                            {"key": "service.name", "value": {"stringValue": "claude-code"}}
                        ]
                    },
                    "scopeLogs": [
                        {
                            "scope": {"name": "events"},
                            "logRecords": [
                                {
                                    "observedTimeUnixNano": "7",
                                    "traceId": "01" * 16,
                                    "spanId": "02" * 8,
                                    "body": {"stringValue": "claude_code.tool_result"},
                                    "attributes": [
                                        {
                                            "key": "event.name",
                                            "value": {"stringValue": "tool_result"},
                                        },
                                        {"key": "tool_name", "value": {"stringValue": "Bash"}},
                                    ],
                                },
                                {
                                    "timeUnixNano": 8,
                                    "eventName": "gen_ai.choice",
                                    "body": {
                                        "kvlistValue": {
                                            "values": [
                                                {
                                                    "key": "message",
                                                    "value": {
                                                        "kvlistValue": {
                                                            "values": [
                                                                {
                                                                    "key": "role",
                                                                    "value": {
                                                                        "stringValue": "assistant"
                                                                    },
                                                                }
                                                            ]
                                                        }
                                                    },
                                                }
                                            ]
                                        }
                                    },
                                },
                                {"timeUnixNano": "9", "body": {"stringValue": "text alone"}},
                            ],
                        }
                    ],
                }
            ]
        }
    ).encode()
    decoded = one(data.SerializeToString(), signal="logs")
    assert decoded == one(text, signal="traces")  # JSON says itself what it is
    first, second, third = decoded.logs
    assert replace(first, digest="") == LogEvent(
        name="tool_result",
        trace_id="01" * 16,
        span_id="02" * 8,
        time_ns=7,
        scope="events",
        resource={"service.name": "claude-code"},
        attributes={"event.name": "tool_result", "tool_name": "Bash"},
        body="claude_code.tool_result",
        digest="",
        source="replay",
        received_ns=1_767_225_600_000_000_000,
    )
    assert (second.name, second.body) == ("gen_ai.choice", {"message": {"role": "assistant"}})
    assert (third.name, third.trace_id, third.time_ns) == ("text alone", "", 9)


# --- ids, times, enums ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [(b"", b"\1" * 8), (b"\0" * 16, b"\1" * 8), (b"\1" * 8, b"\1" * 8), (b"\1" * 16, b"\0" * 8)],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_spans_without_ids_are_set_aside_alone(
    trace_id: bytes, span_id: bytes, as_json: bool
) -> None:
    bad = span_fields(2, trace_id=trace_id, span_id=span_id)
    data = traces_data([span_fields(1), bad, span_fields(3)])
    decoded = one(otlp_json(data) if as_json else data.SerializeToString(), position=KAFKA)
    assert [span.name for span in decoded.spans] == ["execute_tool 1", "execute_tool 3"]
    (letter,) = decoded.dead_letters
    assert (letter.reason, decoded.rejected) == ("missing_ids", 1)
    assert (letter.position, letter.source) == (KAFKA, "replay")
    assert b"execute_tool 2" in letter.head


def test_many_bad_spans_are_counted_and_few_kept() -> None:
    spans = [span_fields(n, trace_id=b"") for n in range(250)]
    decoded = one(traces_data(spans).SerializeToString())
    assert (decoded.rejected, len(decoded.dead_letters)) == (250, 100)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("start", "end", "kept", "flagged"),
    [
        (0, 5, (0, 5), True),
        (5, 0, (5, 0), True),
        (2**64 - 1, 2**64 - 1, (2**63 - 1, 2**63 - 1), True),
        (5, 2**63, (5, 2**63 - 1), True),
        (5, 2**63 - 1, (5, 2**63 - 1), False),
        (9, 5, (9, 5), False),
    ],
)
def test_times_are_clamped_and_flagged(
    as_json: bool, start: int, end: int, kept: tuple[int, int], flagged: bool
) -> None:
    data = traces_data([span_fields(1, start_time_unix_nano=start, end_time_unix_nano=end)])
    (span,) = one(otlp_json(data) if as_json else data.SerializeToString()).spans
    assert (span.start_ns, span.end_ns) == kept
    assert span.flags == (("time_clamped",) if flagged else ())


def test_json_in_all_its_spellings() -> None:
    data = traces_data([span_fields(1, kind=2, attributes={"n": 7, "m": -7})])
    data.resource_spans[0].scope_spans[0].spans[0].status.code = Status.STATUS_CODE_ERROR
    names = {("SPAN_KIND", 2): "SPAN_KIND_SERVER", ("STATUS_CODE", 2): "STATUS_CODE_ERROR"}
    expected = one(data.SerializeToString()).spans
    for payload in (
        otlp_json(data, write_id=lambda raw: raw.hex().upper(), number_ints=True),
        otlp_json(data, write_id=_base64, write_enum=lambda kind, n: names[kind, n]),
        b"\xef\xbb\xbf" + otlp_json(data, write_enum=lambda kind, n: str(n)),
        b" \n" + otlp_json(data),
        b"\n" + otlp_json(data),
    ):
        assert one(payload).spans == expected
        assert one(payload, encoding="otlp_json").spans == expected


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_a_payload_of_123_bytes_is_not_taken_for_json() -> None:
    fields = span_fields(1, attributes={})
    for size in range(200):
        payload = traces_data([{**fields, "name": "x" * size}], {}).SerializeToString()
        assert len(one(payload).spans) == 1
        if payload[1] == ord("{"):
            return
    pytest.fail("no payload with { as its second byte came up")


# --- real payloads -------------------------------------------------------------------------------


@pytest.mark.shared
def test_captured_payloads_as_the_stock_classes_read_them(shared: Path) -> None:
    seen = 0
    for path in sorted((shared / "spans").glob("*/*/*.binpb")):
        raw = path.read_bytes()
        if ".logs." in path.name:
            continue
        stock = TracesData.FromString(raw)
        expected = {
            span.span_id.hex(): span
            for group in stock.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        }
        decoded = one(raw)
        assert decoded.rejected == 0
        assert {span.span_id for span in decoded.spans} == set(expected)
        for span in decoded.spans:
            message = expected[span.span_id]
            assert span.trace_id == message.trace_id.hex()
            assert (span.name, span.kind) == (message.name, message.kind)
            assert span.attributes.keys() == {pair.key for pair in message.attributes}
            for pair in message.attributes:
                if pair.value.HasField("string_value"):
                    assert span.attributes[pair.key] == pair.value.string_value
            assert len(span.events) == len(message.events)
            assert span.flags == ()
            seen += 1
    assert seen > 4000


@pytest.mark.shared
def test_captured_payloads_in_both_encodings_are_the_same(shared: Path) -> None:
    pairs = 0
    for line in (shared / "spans" / "manifest.jsonl").read_text().splitlines():
        for payload in json.loads(line)["payloads"]:
            if payload["derived"]:
                files = [shared / "spans" / payload[kind] for kind in ("verbatim", "derived")]
                signal: Any = payload["signal"]
                first, second = decode([record_of(f.read_bytes(), signal) for f in files])
                assert first == second
                pairs += 1
    assert pairs > 20
