"""Laws of decoding: encodings agree, records are independent, no bytes break it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from collector.otlp import decode
from contracts.record import REASONS, Decoded, Signal
from contracts.span import Value
from tests.otlp_payloads import key_values, otlp_json, record_of, span_fields, traces_data

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SCALAR: st.SearchStrategy[Value] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | TEXT
    | st.binary(max_size=8)
)
VALUE: st.SearchStrategy[Value] = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUE, max_size=5)
TIME = st.integers(0, 2**64 - 1)
COUNT = st.integers(0, 2**32 - 1)


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Any]:
    return span_fields(
        1,
        trace_id=draw(st.binary(min_size=16, max_size=16)),
        span_id=draw(st.binary(min_size=8, max_size=8)),
        parent_span_id=draw(st.just(b"") | st.binary(min_size=8, max_size=8)),
        name=draw(TEXT),
        kind=draw(st.integers(0, 5)),
        start_time_unix_nano=draw(TIME),
        end_time_unix_nano=draw(TIME),
        attributes=draw(ATTRIBUTES),
        dropped_attributes_count=draw(COUNT),
        events=draw(st.lists(st.tuples(TEXT, TIME, ATTRIBUTES), max_size=2)),
    )


REQUEST = st.builds(traces_data, st.lists(spans(), max_size=4), ATTRIBUTES)


def plain(value: Any) -> Value:
    """A stock value, read the long way."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "double_value":
        number = value.double_value
        if number != number:
            return "NaN"
        if number in (float("inf"), float("-inf")):
            return "Infinity" if number > 0 else "-Infinity"
    content: Value = getattr(value, kind)
    return content


@settings(deadline=None)
@given(REQUEST)
def test_protobuf_json_and_the_stock_classes_agree(data: TracesData) -> None:
    protobuf, json = decode([record_of(data.SerializeToString()), record_of(otlp_json(data))])
    assert protobuf.spans == json.spans
    assert protobuf.rejected == json.rejected
    stock = [
        (group, scope, span)
        for group in data.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
        if any(span.trace_id) and any(span.span_id)
    ]
    assert len(stock) == len(protobuf.spans)
    for (group, scope, message), span in zip(stock, protobuf.spans, strict=True):
        assert span.trace_id == message.trace_id.hex()
        assert span.span_id == message.span_id.hex()
        assert span.parent_span_id in (message.parent_span_id.hex(), "")
        assert (span.name, span.kind, span.scope) == (message.name, message.kind, scope.scope.name)
        assert span.start_ns == min(message.start_time_unix_nano, 2**63 - 1)
        assert span.end_ns == min(message.end_time_unix_nano, 2**63 - 1)
        assert span.attributes == {pair.key: plain(pair.value) for pair in message.attributes}
        assert span.resource == {pair.key: plain(pair.value) for pair in group.resource.attributes}
        assert [event.name for event in span.events] == [event.name for event in message.events]
        for event, told in zip(span.events, message.events, strict=True):
            assert event.attributes == {pair.key: plain(pair.value) for pair in told.attributes}


@settings(deadline=None)
@given(REQUEST, st.randoms(use_true_random=False))
def test_neither_order_of_attributes_nor_batching_matters(
    data: TracesData, rng: random.Random
) -> None:
    """Equal spans keep their digest however their attributes are ordered and spans are batched."""
    before = decode([record_of(data.SerializeToString())])[0].spans
    alone: list[Decoded] = []
    for group in data.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                pairs = list(span.attributes)
                rng.shuffle(pairs)
                single = TracesData()
                resource = single.resource_spans.add()
                resource.resource.CopyFrom(group.resource)
                target = resource.scope_spans.add()
                target.scope.CopyFrom(scope.scope)
                copy = target.spans.add()
                copy.CopyFrom(span)
                del copy.attributes[:]
                copy.attributes.extend(pairs)
                alone.extend(decode([record_of(single.SerializeToString())]))
    assert tuple(span for decoded in alone for span in decoded.spans) == before


@settings(max_examples=50, deadline=None)
@given(st.lists(REQUEST.map(TracesData.SerializeToString) | st.binary(max_size=40), max_size=5))
def test_records_are_independent(payloads: list[bytes]) -> None:
    records = [record_of(payload) for payload in payloads]
    together = decode(records)
    assert together == [decode([record])[0] for record in records]


def _mutated(payload: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes removed, repeated, inserted, or the end cut off."""
    data = bytearray(payload)
    for _ in range(rng.randint(1, 6)):
        if not data:
            break
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.randrange(256)
        elif how == 2:
            del data[at : at + rng.randint(1, 8)]
        elif how == 3:
            data[at:at] = data[at : at + rng.randint(1, 16)]
        elif how == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        else:
            del data[at:]
    return bytes(data)


def _logs() -> bytes:
    data = LogsData()
    group = data.resource_logs.add()
    group.resource.attributes.extend(key_values({"service.name": "a"}))
    log = group.scope_logs.add().log_records.add(time_unix_nano=5, event_name="e")
    log.attributes.extend(key_values({"k": [1, {"a": "b"}], "raw": b"x"}))
    log.body.string_value = "body"
    return data.SerializeToString()


def _traces() -> TracesData:
    return traces_data(
        [
            span_fields(
                n,
                attributes={
                    "text": "grüße",
                    "n": n,
                    "d": 0.5,
                    "list": [1, {"a": b"x"}],
                    "no": None,
                },
                events=[("event", 5, {"k": "v"})],
            )
            for n in range(1, 5)
        ]
    )


SEEDS: dict[str, tuple[Callable[[], bytes], Signal]] = {
    "protobuf": (lambda: _traces().SerializeToString(), "traces"),
    "json": (lambda: otlp_json(_traces()), "traces"),
    "logs": (_logs, "logs"),
}


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_no_mutation_breaks_decoding(kind: str, seed: int) -> None:
    make, signal = SEEDS[kind]
    good = make()
    bad = _mutated(good, random.Random(seed))
    before, decoded, after = decode(
        [record_of(good, signal), record_of(bad, signal), record_of(good, signal)]
    )
    assert before == after == decode([record_of(good, signal)])[0]
    assert len(decoded.dead_letters) <= decoded.rejected
    for letter in decoded.dead_letters:
        assert letter.reason in REASONS
        assert letter.detail
        assert len(letter.head) <= 512
    for span in decoded.spans:
        assert len(span.trace_id) == 32
        assert len(span.span_id) == 16
        assert 0 <= span.start_ns < 2**63
        assert 0 <= span.end_ns < 2**63
        repr(replace(span, digest="")).encode()  # UTF-8 throughout


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["auto", "otlp_proto", "otlp_json"]))
def test_random_bytes(payload: bytes, encoding: Any) -> None:
    decoded = decode([record_of(payload, encoding=encoding)])[0]
    assert decoded.rejected or not payload or payload.strip() == b"{}" or not decoded.spans


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_span_never_takes_its_neighbours(data: st.DataObject) -> None:
    """Any bytes in the place of one span."""
    junk = data.draw(st.binary(max_size=60))
    parts = [s.SerializeToString() for s in _traces().resource_spans[0].scope_spans[0].spans]
    items = [*parts[:2], junk, *parts[2:]]
    scope = b"".join(b"\x12" + _size(item) + item for item in items)
    group = b"\x12" + _size(scope) + scope
    decoded = decode([record_of(b"\x0a" + _size(group) + group)])[0]
    names = [span.name for span in decoded.spans]
    expected = [f"execute_tool {n}" for n in range(1, 5)]
    assert [name for name in names if name in expected] == expected
    assert len(decoded.spans) + decoded.rejected == 5


def _size(content: bytes) -> bytes:
    size, out = len(content), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])
