"""Decoding against the stock classes, and everything that arrives broken."""

import base64
import json
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from collector.config import DecodeLimits
from collector.otlp import decode
from contracts.record import REASONS, Decoded, Partition, Position
from contracts.span import Event, LogEvent, Span
from tests.otlp_payloads import (
    any_value,
    key_values,
    otlp_json,
    record_of,
    span_fields,
    traces_data,
)

KAFKA = Position(Partition("otlp_spans", 0), 41)


def one(payload: bytes, **changes: Any) -> Decoded:
    """Of one record: never silent about what it leaves out."""
    (decoded,) = decode([record_of(payload, **changes)])
    assert all(letter.reason in REASONS and letter.detail for letter in decoded.dead_letters)
    assert decoded.rejected >= len(decoded.dead_letters)
    return decoded


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


# --- text and numbers ----------------------------------------------------------------------------


def test_text_that_is_no_utf8_is_mended_in_its_span_alone() -> None:
    payload = traces_data(
        [span_fields(n, attributes={"a": "good", "b": f"BROKEN{n}"}) for n in (1, 2, 3)]
    ).SerializeToString()
    decoded = one(payload.replace(b"BROKEN2", b"\xff\xfeOKEN2"))
    assert [span.flags for span in decoded.spans] == [(), ("text_cleaned",), ()]
    assert decoded.spans[1].attributes == {"a": "good", "b": "\ufffd\ufffdOKEN2"}
    assert decoded.rejected == 0


@pytest.mark.parametrize(
    ("find", "replacement"),
    [
        (b"execute_tool 2", b"\xffxecute_tool 2"),
        (b"KEY2", b"\xffEY2"),
        (b"EVENT2", b"\xffVENT2"),
        (b"NESTED2", b"\xffESTED2"),
    ],
)
def test_broken_text_anywhere_in_a_span(find: bytes, replacement: bytes) -> None:
    payload = traces_data(
        [
            span_fields(
                n, attributes={f"KEY{n}": [{"k": f"NESTED{n}"}]}, events=[(f"EVENT{n}", 1, {})]
            )
            for n in (1, 2, 3)
        ]
    ).SerializeToString()
    assert payload.count(find) == 1
    decoded = one(payload.replace(find, replacement))
    assert [span.flags for span in decoded.spans] == [(), ("text_cleaned",), ()]
    assert "\ufffd" in repr(decoded.spans[1])


def test_broken_text_in_resource_and_scope() -> None:
    payload = traces_data([span_fields(1)], {"service.name": "RESOURCE"}).SerializeToString()
    broken = payload.replace(b"RESOURCE", b"\xffESOURCE").replace(b"tests", b"\xffests")
    (span,) = one(broken).spans
    assert span.resource == {"service.name": "\ufffdESOURCE"}
    assert span.scope == "\ufffdests"
    assert span.flags == ("text_cleaned",)


def test_lone_surrogates_and_nul_in_json() -> None:
    data = traces_data([span_fields(n, attributes={"a": f"MARK{n}"}) for n in (1, 2)])
    text = otlp_json(data).replace(b"MARK1", rb"x\ud800y\u0000\ud83d\ude00")
    decoded = one(text)
    assert decoded.spans[0].attributes == {"a": "x\ufffdy\0😀"}
    assert [span.flags for span in decoded.spans] == [("text_cleaned",), ()]


def test_json_that_is_no_utf8() -> None:
    data = traces_data([span_fields(n, attributes={"a": f"MARK{n}"}) for n in (1, 2)])
    decoded = one(otlp_json(data).replace(b"MARK1", b"\xff\xfe"))
    assert decoded.spans[0].attributes == {"a": "\ufffd\ufffd"}
    assert [span.flags for span in decoded.spans] == [("text_cleaned",), ()]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"NaN", "NaN"),
        (b'"NaN"', "NaN"),
        (b"1e999", "Infinity"),
        (b'"-Infinity"', "-Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1", 1.0),
        (b'"0.25"', 0.25),
        (b'"a quarter"', "a quarter"),
    ],
)
def test_numbers_that_are_none(written: bytes, expected: object) -> None:
    text = otlp_json(traces_data([span_fields(1, attributes={"d": 0.125})]))
    (span,) = one(text.replace(b"0.125", written)).spans
    assert span.attributes == {"d": expected}


@pytest.mark.parametrize(
    "written", [b"9" * 5000, b'"' + b"9" * 5000 + b'"', b"99999999999999999999"]
)
def test_integers_of_any_length(written: bytes) -> None:
    text = otlp_json(traces_data([span_fields(1, attributes={"i": 77777})]))
    (span,) = one(text.replace(b'"77777"', written)).spans
    assert str(span.attributes["i"]) in (written.strip(b'"').decode(), "1e+20")


def test_nan_is_the_same_in_both_encodings() -> None:
    data = traces_data([span_fields(1, attributes={"a": float("nan"), "b": float("inf")})])
    assert one(data.SerializeToString()).spans == one(otlp_json(data)).spans


# --- payloads that are none, or too much ---------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "encoding", "reason"),
    [
        (b"\xde\xad\xbe\xef" * 20, "auto", "unknown_encoding"),
        (b"\x0a\xff\xff", "auto", "invalid_protobuf"),
        (b"hello", "otlp_proto", "invalid_protobuf"),
        (b'{"resourceSpans": [', "auto", "invalid_json"),
        (b'{"resourceSpans": []}', "otlp_proto", "invalid_protobuf"),
        (b"\x0a\x00", "otlp_json", "invalid_json"),
        (b'[{"traceId": "1"}]', "otlp_json", "unknown_encoding"),
        (b'{"spans": []}', "auto", "unknown_encoding"),
        (b"\x12\x02hi", "auto", "unknown_encoding"),
        (b'{"resourceSpans":' + b"[" * 100_000, "auto", "too_deep"),
    ],
)
def test_payloads_that_are_none(payload: bytes, encoding: Any, reason: str) -> None:
    decoded = one(payload, encoding=encoding, position=KAFKA)
    assert (decoded.spans, decoded.logs, decoded.rejected) == ((), (), 1)
    assert [letter.reason for letter in decoded.dead_letters] == [reason]
    assert decoded.dead_letters[0].head == payload[:512]
    assert decoded.dead_letters[0].size_bytes == len(payload)


def test_nothing_is_a_dead_letter_only_where_it_was_a_record() -> None:
    assert one(b"") == Decoded((), (), (), 0)
    assert one(b"{}") == Decoded((), (), (), 0)
    assert one(b"", position=KAFKA).dead_letters[0].reason == "empty"


def test_every_truncation_is_accounted_for(payload: bytes) -> None:
    for size in range(1, len(payload)):
        decoded = one(payload[:size])
        assert decoded.rejected > 0 or not decoded.spans


def test_bad_payloads_leave_the_poll_alone(payload: bytes) -> None:
    bad = [b"\x0a\xff", b"{", b"\x0a\x05\x12\x03\x12\x01\xff", b"x" * 50]
    payloads = [payload, bad[0], payload, bad[1], bad[2], payload, bad[3]]
    decoded = decode([record_of(each) for each in payloads])
    assert [len(each.spans) for each in decoded] == [3, 0, 3, 0, 0, 3, 0]
    assert [each.rejected for each in decoded] == [0, 1, 0, 1, 1, 0, 1]


def test_a_broken_span_leaves_its_payload_alone() -> None:
    data = traces_data([span_fields(n, name=f"SPAN{n}") for n in (1, 2, 3)])
    payload = data.SerializeToString()
    at = payload.index(b"SPAN2")
    # The length of the name now reaches past the end of the span.
    broken = payload[: at - 1] + b"\x7f" + payload[at:]
    decoded = one(broken, position=KAFKA)
    assert [span.name for span in decoded.spans] == ["SPAN1", "SPAN3"]
    assert [letter.reason for letter in decoded.dead_letters] == ["invalid_protobuf"]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("shape", ["list", "map"])
def test_depth_is_the_same_in_both_encodings(as_json: bool, shape: str) -> None:
    def nested(levels: int) -> Any:
        value: Any = "x"
        for _ in range(levels):
            value = [value] if shape == "list" else {"k": value}
        return value

    def decoded(levels: int) -> Decoded:
        data = traces_data([span_fields(1), span_fields(2, attributes={"deep": nested(levels)})])
        return one(otlp_json(data) if as_json else data.SerializeToString())

    assert decoded(24).spans[1].attributes == {"deep": nested(24)}
    for levels in (25, 30):
        too_deep = decoded(levels)
        assert [span.name for span in too_deep.spans] == ["execute_tool 1"]
        assert [letter.reason for letter in too_deep.dead_letters] == ["too_deep"]


def test_depth_that_even_the_parser_refuses() -> None:
    value = b"\x0a\x01x"  # AnyValue "x"
    for _ in range(2000):
        value = _field(5, _field(1, value))
    attribute = _field(9, _field(1, b"deep") + _field(2, value))
    plain = traces_data([span_fields(n) for n in (1, 2)])
    spans = plain.resource_spans[0].scope_spans[0].spans
    items = b"".join(_field(2, s.SerializeToString()) for s in spans)
    deep = _field(2, spans[0].SerializeToString() + attribute)
    decoded = one(_field(1, _field(2, items + deep)))
    assert len(decoded.spans) == 2
    assert [letter.reason for letter in decoded.dead_letters] == ["too_deep"]


def _field(number: int, content: bytes) -> bytes:
    size = len(content)
    prefix = bytearray([number << 3 | 2])
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes(prefix) + bytes([size]) + content


def test_a_payload_past_the_limit() -> None:
    decoded = one(b"\x0a" + b"x" * (20 * 1024 * 1024), position=KAFKA)
    assert decoded.dead_letters[0].reason == "too_large"
    assert len(decoded.dead_letters[0].head) == 512


def test_a_record_of_16_mb_with_ordinary_spans() -> None:
    spans = [span_fields(n + 1, attributes={"args": "x" * 16_000}) for n in range(1000)]
    payload = traces_data(spans).SerializeToString()
    assert len(payload) > 16_000_000
    decoded = one(payload)
    assert (len(decoded.spans), decoded.rejected) == (1000, 0)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_hundred_thousand_attributes(as_json: bool) -> None:
    many = span_fields(2, attributes={f"key {n:06}": n for n in range(100_000)})
    data = traces_data([span_fields(1), many, span_fields(3)])
    decoded = one(otlp_json(data) if as_json else data.SerializeToString())
    assert [span.flags for span in decoded.spans] == [(), ("value_cut",), ()]
    assert len(decoded.spans[1].attributes) == 16_384
    assert decoded.spans[1].dropped == 100_000 - 16_384


def test_caps_of_every_kind() -> None:
    limits = DecodeLimits(value_chars=50, key_chars=20, attributes=3, events=2, values=8)
    data = traces_data(
        [
            span_fields(
                1,
                name="n" * 60,
                attributes={
                    "a": "x" * 60,
                    "b": list(range(100)),
                    "k" * 21: 1,
                    "raw": b"r" * 60,
                    "z": 1,
                },
                events=[(f"e{n}", n, {}) for n in range(5)],
            )
        ]
    )
    (decoded,) = decode([record_of(data.SerializeToString())], limits)
    (span,) = decoded.spans
    assert span.flags == ("value_cut",)
    assert span.name == "n" * 50
    assert span.attributes["a"] == "x" * 50
    assert span.attributes["b"] == [0, 1, 2, 3, 4, 5]
    assert "z" in span.attributes or "raw" in span.attributes
    assert [event.name for event in span.events] == ["e0", "e1"]
    assert span.dropped >= 3 + 2


def test_arguments_of_120_kb_are_kept_whole() -> None:
    text = "x" * 120_000
    data = traces_data([span_fields(1, attributes={"gen_ai.tool.call.arguments": text})])
    (span,) = one(data.SerializeToString()).spans
    assert span.attributes["gen_ai.tool.call.arguments"] == text
    assert span.flags == ()


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(_field(1, _field(2, b"\x12\x00" * 1_500_000)), id="empty spans"),
        pytest.param(
            _field(
                1,
                _field(
                    2,
                    _field(
                        2,
                        _field(9, _field(1, b"k") + _field(2, _field(5, b"\x0a\x00" * 1_500_000))),
                    ),
                ),
            ),
            id="empty values",
        ),
        pytest.param(b'{"resourceSpans":[' + b"{}," * 1_500_000 + b"{}]}", id="empty objects"),
        pytest.param(b'{"resourceSpans":[' + b"[]," * 1_500_000 + b"[]]}", id="empty lists"),
    ],
)
def test_a_small_bomb_stays_small(bomb: bytes) -> None:
    limits = DecodeLimits(payload_values=50_000)
    tracemalloc.start()
    began = time.process_time()
    (decoded,) = decode([record_of(bomb)], limits)
    taken_s = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [letter.reason for letter in decoded.dead_letters] == ["too_large"]
    assert peak < 4 * 1024 * 1024
    assert taken_s < 10  # tracemalloc makes it many times slower than it is


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
