import gzip
import io
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector import replay
from collector.otlp import decode
from collector.replay import ReplaySource, Tally, read_payloads
from contracts.errors import ConfigError
from contracts.record import Record
from contracts.testing import ManualClock

SPANS: Mapping[str, object] = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}]}]}]}
LOGS: Mapping[str, object] = {
    "resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "e"}]}]}]
}
PROTOBUF = b"\x0a\x00"


def read(*paths: str | Path, stdin: bytes | None = None) -> tuple[list[Record], Tally]:
    tally = Tally()
    stream = None
    if stdin is not None:
        stream = cast(io.BufferedReader, io.BufferedReader(io.BytesIO(stdin)))
    return list(read_payloads(paths, ManualClock(), tally, stream)), tally


def kinds(records: list[Record]) -> list[tuple[str, str]]:
    return [(record.signal, record.encoding) for record in records]


@pytest.mark.parametrize(
    ("name", "signal", "encoding"),
    [
        ("001.binpb", "traces", "otlp_proto"),
        ("001.pb", "traces", "otlp_proto"),
        ("001.logs.binpb", "logs", "otlp_proto"),
        ("payload", "traces", "auto"),
    ],
)
def test_a_protobuf_file_is_one_payload(
    tmp_path: Path, name: str, signal: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(PROTOBUF + b"\n" + PROTOBUF)
    records, tally = read(tmp_path / name)
    assert kinds(records) == [(signal, encoding)]
    assert records[0].payload == PROTOBUF + b"\n" + PROTOBUF
    assert records[0].source == "replay"
    assert records[0].received_ns == ManualClock().now_ns()
    assert (tally.files, tally.payloads) == (1, 1)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["001.json", "payload"])
def test_a_json_file_is_one_payload(tmp_path: Path, indent: int | None, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(SPANS, indent=indent))
    records, _ = read(tmp_path / name)
    assert kinds(records) == [("traces", "otlp_json")]
    assert json.loads(records[0].payload) == SPANS


@pytest.mark.parametrize("name", ["spans.jsonl", "spans.json", "spans"])
def test_json_lines_are_one_payload_each_and_tell_their_signal(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(SPANS), "", json.dumps(LOGS), json.dumps(SPANS)]
    (tmp_path / name).write_text("\n".join(lines))
    records, _ = read(tmp_path / name)
    assert kinds(records) == [
        ("traces", "otlp_json"),
        ("logs", "otlp_json"),
        ("traces", "otlp_json"),
    ]
    assert [record.ticket for record in records] == [1, 2, 3]


@pytest.mark.parametrize("compressed", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl"])
def test_compression_is_told_by_the_content(
    tmp_path: Path, compressed: "type[bytes]", name: str
) -> None:
    (tmp_path / name).write_bytes(compressed(f"{json.dumps(SPANS)}\n{json.dumps(LOGS)}".encode()))
    records, tally = read(tmp_path)
    assert [record.signal for record in records] == ["traces", "logs"]
    assert tally.unreadable == {}


def test_several_members_and_frames_are_read_on(tmp_path: Path) -> None:
    line = json.dumps(SPANS).encode() + b"\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line) * 3)
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(line) * 2)
    records, _ = read(tmp_path)
    assert len(records) == 5


def test_folders_are_read_in_order_and_only_payload_files(tmp_path: Path) -> None:
    for name in ("b/002.binpb", "b/001.binpb", "a/z/001.pb.gz", "a/002.json", "README.md", "x.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps({**SPANS, "from": name}).encode())
    (tmp_path / "loop").symlink_to(tmp_path)
    records, tally = read(tmp_path)
    told = [json.loads(record.payload)["from"] for record in records]
    assert told == ["a/002.json", "a/z/001.pb.gz", "b/001.binpb", "b/002.binpb"]
    assert tally.files == 4


def test_json_that_is_not_otlp_is_counted_and_not_handed_on(tmp_path: Path) -> None:
    manifest = [{"id": 1, "note": '"resourceSpans"'}, {"id": 2}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, manifest)))
    (tmp_path / "captures.json").write_text(json.dumps({"captures": {}}, indent=1))
    (tmp_path / "001.json").write_text(json.dumps(SPANS))
    records, tally = read(tmp_path)
    assert len(records) == 1
    assert {os.path.basename(name): n for name, n in tally.not_otlp.items()} == {
        "manifest.jsonl": 2,
        "captures.json": 1,
    }


def test_broken_json_is_handed_on_and_becomes_a_dead_letter(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(SPANS)}\n{{cut\n{json.dumps(LOGS)}\n")
    records, tally = read(tmp_path)
    assert [record.payload for record in records][1] == b"{cut"
    assert [letter.reason for letter in decode(records)[1].dead_letters] == ["invalid_json"]
    assert tally.not_otlp == {}


def test_standard_input(tmp_path: Path) -> None:
    lines = f"{json.dumps(SPANS)}\n{json.dumps(LOGS)}\n".encode()
    assert kinds(read("-", stdin=lines)[0]) == [("traces", "otlp_json"), ("logs", "otlp_json")]
    assert kinds(read("-", stdin=gzip.compress(lines))[0])[1] == ("logs", "otlp_json")
    assert kinds(read("-", stdin=PROTOBUF)[0]) == [("traces", "auto")]


def test_a_missing_path_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.binpb").write_bytes(PROTOBUF)
    with pytest.raises(ConfigError, match=r"no such file or folder: .*/nowhere"):
        read_payloads([tmp_path / "a.binpb", tmp_path / "nowhere"], ManualClock(), Tally())


def test_unreadable_files_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(SPANS).encode() * 50)
    (tmp_path / "1.json.gz").write_bytes(whole[:-10])
    (tmp_path / "2.binpb.gz").write_bytes(whole + b"not gzip")
    (tmp_path / "3.json.gz").write_bytes(whole[:12] + bytes(20) + whole[32:])
    (tmp_path / "4.binpb").write_bytes(PROTOBUF)
    records, tally = read(tmp_path)
    assert [record.payload for record in records if record.encoding == "otlp_proto"] == [PROTOBUF]
    assert tally.unreadable_files == 3
    assert sorted(map(os.path.basename, tally.unreadable)) == [
        "1.json.gz",
        "2.binpb.gz",
        "3.json.gz",
    ]


def test_payloads_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAYLOAD_BYTES", 100)
    line = json.dumps(SPANS)
    assert len(line) < 100
    (tmp_path / "1.binpb").write_bytes(bytes(101))
    (tmp_path / "2.jsonl").write_text(f"{line}\n{'x' * 250}\n{line}\n")
    (tmp_path / "3.json.gz").write_bytes(gzip.compress(json.dumps([SPANS] * 99, indent=1).encode()))
    records, tally = read(tmp_path)
    assert [record.payload.decode() for record in records] == [line, line]
    assert tally.unreadable_files == 3
    assert all("more than 100 bytes" in message for message in tally.unreadable.values())


def test_messages_kept_are_bounded(tmp_path: Path) -> None:
    tally = Tally()
    for number in range(replay.UNREADABLE_KEPT + 50):
        tally.cannot_read(str(number), "broken")
    assert len(tally.unreadable) == replay.UNREADABLE_KEPT
    assert tally.unreadable_files == replay.UNREADABLE_KEPT + 50


@given(st.lists(st.sampled_from([SPANS, LOGS, {"other": 1}]), max_size=8), st.booleans())
def test_every_line_is_handed_on_or_counted(
    documents: list[Mapping[str, object]], zip: bool
) -> None:
    lines = "\n".join(map(json.dumps, documents)).encode()
    records, tally = read("-", stdin=gzip.compress(lines) if zip else lines)
    if documents:
        handed_on = Counter(record.signal for record in records)
        assert handed_on["traces"] == documents.count(SPANS)
        assert handed_on["logs"] == documents.count(LOGS)
        assert tally.not_otlp.get("-", 0) == documents.count({"other": 1})


def records(*sizes: int) -> list[Record]:
    return [
        Record(bytes(size), "traces", "auto", "replay", 1, ticket=number)
        for number, size in enumerate(sizes, 1)
    ]


def test_source_gives_everything_once_and_again_what_was_refused() -> None:
    source = ReplaySource(iter(records(1, 1, 1, 1, 1)))
    source.start({})
    first = source.poll(0.0, 2)
    assert [record.ticket for record in first] == [1, 2]
    source.refuse(first, 1.0)
    assert [record.ticket for record in source.poll(0.0, 10)] == [1, 2, 3, 4, 5]
    assert source.poll(0.0, 10) == []
    assert source.exhausted
    source.acknowledge(first, {})
    assert (source.name, source.lag_s(0), source.gaps()) == ("replay", None, ())
    source.close(0.0)
    source.close(0.0)


def test_source_bounds_the_bytes_of_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "POLL_BYTES", 10)
    source = ReplaySource(iter(records(50, 4, 4, 4, 4)))
    assert [len(source.poll(0.0, 100)) for _ in range(4)] == [1, 3, 1, 0]


SHARED = Path(__file__).parents[3] / "shared" / "spans"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no captured spans beside the repository")
def test_captured_payloads_are_all_found() -> None:
    manifest = [json.loads(line) for line in (SHARED / "manifest.jsonl").read_text().splitlines()]
    payloads = [payload for run in manifest for payload in run["payloads"]]
    wanted = [p["verbatim"] for p in payloads] + [p["derived"] for p in payloads if p["derived"]]
    folders = sorted(path for path in SHARED.iterdir() if path.is_dir() and path.name != "_kafka")
    found, tally = read(*folders)
    assert len(found) == len(wanted)
    assert sum(record.signal == "logs" for record in found) == sum(".logs." in w for w in wanted)
    assert not tally.unreadable
    assert not any(decoded.dead_letters for decoded in decode(found))
