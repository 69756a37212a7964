"""Payloads that are no OTLP, or too much of it: each ends as a dead letter with its reason, and the
rest is stored.
"""

import time
import tracemalloc
from typing import Any

import pytest

from collector.config import DecodeLimits
from collector.otlp import decode
from contracts.record import Decoded, Partition, Position
from tests.otlp_payloads import (
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
