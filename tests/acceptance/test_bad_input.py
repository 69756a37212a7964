"""Whatever comes in: a clear answer or a dead letter with its reason, and the rest is stored."""

import http.client
import json
import os
import random
import struct
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from collector.replay import ReplaySource, Tally, read_payloads
from contracts.clock import SystemClock
from contracts.span import Value
from contracts.testing import ManualClock
from storage.store import Store
from telltale.app import App
from telltale.config import Settings, load
from telltale.pipeline import Pipeline
from telltale.replay import Counts, replay
from telltale.stages import rule_pack, stages
from tests.otlp_payloads import otlp_json, span_fields, traces_data

MIB = 1 << 20
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def free(data: Path) -> Settings:
    settings = load(data=data)
    return settings.model_copy(
        update={
            "otlp": settings.otlp.model_copy(update={"http": "127.0.0.1:0", "grpc": None}),
            "api": settings.api.model_copy(update={"listen": "127.0.0.1:0"}),
        }
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    made = App(free(tmp_path_factory.mktemp("daemon")))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _goes_on(app: App) -> Iterator[None]:
    """After every test the daemon answers, has no dead part, and stores a good span."""
    yield
    base = app.server.url
    for path in ("/metrics", "/healthz", "/readyz"):
        with urllib.request.urlopen(base + path, timeout=60) as response:
            assert response.status == 200, path
    assert app.failed == ""
    trace = os.urandom(16)
    assert post(app, body([fields(trace)]))[0] == 200
    assert stored(app, trace) == 1


def fields(trace: bytes, number: int = 1, **changes: Any) -> dict[str, Any]:
    """A good tool span of `trace`."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "read_file",
        "gen_ai.tool.call.id": f"call-{number}",
        "gen_ai.tool.call.arguments": '{"path": "/srv/a"}',
    }
    return span_fields(number, **{"trace_id": trace, "attributes": attributes, **changes})


def body(spans: Sequence[dict[str, Any]]) -> bytes:
    return traces_data(spans).SerializeToString()


def post(app: App, payload: bytes, kind: str = PROTOBUF) -> tuple[int, bytes]:
    """Status and body of the OTLP/HTTP receiver's answer."""
    host, port = app.receivers[0].address
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request("POST", "/v1/traces", payload, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()


def stored(app: App, trace: bytes) -> int:
    ((number,),) = app.store.read(f"SELECT count(*) FROM spans WHERE trace_id = '{trace.hex()}'")
    return int(number)


def letters(app: App) -> dict[str, int]:
    found = app.store.read("SELECT reason, count(*) FROM dead_letters GROUP BY reason")
    return {str(reason): int(number) for reason, number in found}


@pytest.fixture
def reasons(app: App) -> Callable[[], set[str]]:
    """Reasons of the dead letters that came since the test began."""
    before = letters(app)
    return lambda: {r for r, number in letters(app).items() if number > before.get(r, 0)}


def calls(app: App, trace: bytes) -> list[dict[str, Any]]:
    names = ("tool", "arguments", "arguments_state", "outcome", "started_at")
    rows = app.store.read(
        f"SELECT {', '.join(names)} FROM calls WHERE trace_id = '{trace.hex()}' ORDER BY step"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes(app: App, seed: int, reasons: Callable[[], set[str]]) -> None:
    chance = random.Random(seed)
    status, answer = post(app, chance.randbytes(chance.choice([1, 7, 100, 5_000])))
    assert status == 400
    assert answer
    assert len(reasons()) == 1
    assert reasons() <= {"invalid_protobuf", "unknown_encoding", "invalid_json"}


def test_truncated_protobuf(app: App, reasons: Callable[[], set[str]]) -> None:
    whole = body([fields(os.urandom(16))])
    assert post(app, whole[: len(whole) * 2 // 3])[0] == 400
    assert reasons() <= {"invalid_protobuf", "missing_ids", "invalid_field"}
    assert reasons()


@pytest.mark.parametrize("form", ["json as protobuf", "protobuf as json"])
def test_wrong_encoding(app: App, form: str, reasons: Callable[[], set[str]]) -> None:
    data = traces_data([fields(os.urandom(16))])
    if form == "json as protobuf":
        status, _ = post(app, otlp_json(data), PROTOBUF)
    else:
        status, _ = post(app, data.SerializeToString(), JSON)
    assert status == 400
    assert reasons() <= {"invalid_json", "invalid_protobuf", "unknown_encoding"}
    assert reasons()


def test_an_unknown_content_type_is_told_what_is_served(app: App) -> None:
    status, answer = post(app, b"x", "text/plain")
    assert status == 415
    assert b"application/x-protobuf" in answer


def test_a_record_of_16_megabytes(app: App) -> None:
    trace = os.urandom(16)
    large = fields(trace, 1, attributes={"gen_ai.tool.name": "read", "blob": "x" * (16 * MIB)})
    assert post(app, body([large, fields(trace, 2)]))[0] == 200
    assert stored(app, trace) == 2
    ((flags,),) = app.store.read(
        f"SELECT flags FROM spans WHERE trace_id = '{trace.hex()}' AND span_id LIKE '%1'"
    )
    assert "value_cut" in flags


def test_a_record_past_the_bound_is_told_so(app: App) -> None:
    status, answer = post(app, b"\n" * (21 * MIB))
    assert status == 413
    assert b"bytes" in answer


@pytest.mark.parametrize("which", ["trace_id", "span_id"])
@pytest.mark.parametrize("value", [b"", b"\0" * 16, b"short"])
def test_a_span_without_ids_is_set_aside_and_its_neighbours_stored(
    app: App, which: str, value: bytes, reasons: Callable[[], set[str]]
) -> None:
    trace = os.urandom(16)
    status, answer = post(app, body([fields(trace, 1), fields(trace, 2, **{which: value})]))
    assert status == 200
    assert answer  # partial success: one rejected
    assert reasons() == {"missing_ids"}
    assert stored(app, trace) == 1


@pytest.mark.parametrize("start", [0, 2**64 - 1])
@pytest.mark.parametrize("end", [0, 2**64 - 1])
def test_times_at_the_ends_of_their_range(app: App, start: int, end: int) -> None:
    trace = os.urandom(16)
    odd = fields(trace, 1, start_time_unix_nano=start, end_time_unix_nano=end)
    assert post(app, body([odd, fields(trace, 2)]))[0] == 200
    assert stored(app, trace) == 2
    assert len(calls(app, trace)) == 2
    name = f"{app.server.url}/api/v1/trajectories/t-{trace.hex()}"
    with urllib.request.urlopen(name, timeout=60) as response:
        assert len(json.load(response)["trajectory"]["calls"]) == 2


def test_parents_in_a_circle(app: App) -> None:
    trace = os.urandom(16)
    ids = [number.to_bytes(8, "big") for number in (1, 2, 3)]
    circle = [
        fields(trace, 1, parent_span_id=ids[2]),
        fields(trace, 2, parent_span_id=ids[0]),
        fields(trace, 3, parent_span_id=ids[1]),
        fields(trace, 4, parent_span_id=(4).to_bytes(8, "big")),
    ]
    assert post(app, body(circle))[0] == 200
    assert len(calls(app, trace)) == 4


def test_lone_surrogates(app: App) -> None:
    trace = os.urandom(16)
    text = otlp_json(traces_data([fields(trace, 1, name="NAME"), fields(trace, 2)]))
    assert post(app, text.replace(b"NAME", rb"a\ud800b"), JSON)[0] == 200
    assert stored(app, trace) == 2
    raw = body([fields(trace, 3, name="NAME"), fields(trace, 4)])
    assert post(app, raw.replace(b"NAME", b"\xed\xa0\x80b"))[0] == 200
    assert stored(app, trace) == 4


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(app: App, number: float) -> None:
    trace = os.urandom(16)
    attributes: dict[str, Value] = {
        "gen_ai.tool.name": "sum",
        "gen_ai.operation.name": "execute_tool",
        "x": number,
    }
    data = traces_data([fields(trace, 1, attributes=attributes), fields(trace, 2)])
    assert post(app, data.SerializeToString())[0] == 200
    assert stored(app, trace) == 2
    data.resource_spans[0].scope_spans[0].spans[0].span_id = b"\x09" * 8
    data.resource_spans[0].scope_spans[0].spans[1].span_id = b"\x08" * 8
    assert post(app, otlp_json(data), JSON)[0] == 200
    assert stored(app, trace) == 4


def test_numbers_that_json_does_not_know(app: App) -> None:
    trace = os.urandom(16)
    text = otlp_json(traces_data([fields(trace, 1, attributes={"x": 0.5})]))
    assert post(app, text.replace(b"0.5", b"NaN"), JSON)[0] in (200, 400)
    assert post(app, text.replace(b"0.5", b"1e999"), JSON)[0] in (200, 400)


def test_100_000_attributes(app: App) -> None:
    trace = os.urandom(16)
    many: dict[str, Value] = {"gen_ai.tool.name": "read_file"}
    many |= {f"key.{number}": number for number in range(100_000)}
    assert post(app, body([fields(trace, 1, attributes=many), fields(trace, 2)]))[0] == 200
    assert stored(app, trace) == 2
    ((dropped,),) = app.store.read(
        f"SELECT dropped FROM spans WHERE trace_id = '{trace.hex()}' AND dropped > 0"
    )
    assert dropped > 80_000


@pytest.mark.parametrize(
    "text", ['{"path": ', "[1, 2", "\\u0000", "{'path': '/srv'}", "nul", "[" * 10_000]
)
def test_arguments_that_are_no_json(app: App, text: str) -> None:
    trace = os.urandom(16)
    odd = fields(
        trace,
        1,
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "read_file",
            "gen_ai.tool.call.arguments": text,
        },
    )
    assert post(app, body([odd, fields(trace, 2)]))[0] == 200
    found = calls(app, trace)
    assert len(found) == 2
    states = {call["arguments_state"] for call in found}
    assert "object" in states
    assert states <= {"object", "text", "truncated", "invalid"}


def test_deep_nesting(app: App, reasons: Callable[[], set[str]]) -> None:
    deep = b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert post(app, deep, JSON)[0] == 400
    trace = os.urandom(16)
    value = b""
    for _ in range(2_000):  # AnyValue.array_value (5) of ArrayValue.values (1)
        value = _field(5, _field(1, value))
    made = traces_data([fields(trace, 1)]).resource_spans[0].scope_spans[0].spans[0]
    span = made.SerializeToString() + _field(9, _field(1, b"deep") + _field(2, value))
    good = body([fields(trace, 2)])
    assert post(app, good + _field(1, _field(2, _field(2, span))))[0] == 200
    assert stored(app, trace) >= 1
    assert reasons() <= {"too_deep", "invalid_protobuf", "invalid_json"}


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _length(len(content)) + content


def _length(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def test_a_gzip_bomb(app: App) -> None:
    import gzip

    host, port = app.receivers[0].address
    with closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
        connection.request(
            "POST",
            "/v1/traces",
            gzip.compress(b"\0" * (200 * MIB), 1),
            {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"},
        )
        assert connection.getresponse().status == 413


BAD_FILES: dict[str, bytes] = {
    "random.binpb": random.Random(1).randbytes(3_000),
    "cut.binpb": body([fields(b"\x01" * 16)])[:-9],
    "text.json": b"this is no JSON",
    "cut.json": otlp_json(traces_data([fields(b"\x02" * 16)]))[:-30],
    "foreign.json": b'{"a": [1, 2]}',
    "noids.binpb": body([fields(b"")]),
    "large.binpb": body([fields(b"\x03" * 16, attributes={"x": "y" * (30 * MIB)})]),
    "cut.json.gz": b"\x1f\x8b\x08\x00garbage",
    "empty.binpb": b"",
    "floats.binpb": struct.pack("<4d", float("nan"), 1e308, -0.0, float("inf")),
}


def test_files_of_every_kind_beside_a_good_one(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in BAD_FILES.items():
        (folder / name).write_bytes(content)
    (folder / "good.binpb").write_bytes(body([fields(b"\x05" * 16, n) for n in range(1, 6)]))
    clock = SystemClock()
    settings = free(tmp_path / "data")
    store = Store(settings.data, clock)
    try:
        pipeline = Pipeline(stages(settings, store, rule_pack(settings)), store)
        tally = Tally()
        counts: Counts = replay(
            ReplaySource(read_payloads([str(folder)], clock, tally)), pipeline, store, clock
        )
        assert counts.spans == 5
        assert counts.calls == 5
        reasons = {str(row[0]) for row in store.read("SELECT DISTINCT reason FROM dead_letters")}
        assert {"invalid_json", "missing_ids", "too_large"} <= reasons
        heads = cast("list[tuple[int]]", store.read("SELECT octet_length(head) FROM dead_letters"))
        assert all(size <= 512 for (size,) in heads)
        assert list(tally.unreadable) == [str(folder / "cut.json.gz")]
        assert list(tally.not_otlp) == [str(folder / "foreign.json")]
    finally:
        store.close()


def test_a_manual_clock_far_in_the_past_or_future_changes_nothing(tmp_path: Path) -> None:
    for name, now_ns in (("past", 0), ("future", 2**62)):
        clock = ManualClock(now_ns)
        settings = free(tmp_path / name)
        store = Store(settings.data, clock)
        try:
            pipeline = Pipeline(stages(settings, store, rule_pack(settings)), store)
            files = tmp_path / f"{name}.binpb"
            files.write_bytes(body([fields(b"\x06" * 16)]))
            source = ReplaySource(read_payloads([str(files)], clock, Tally()))
            assert replay(source, pipeline, store, clock).calls == 1
        finally:
            store.close()
