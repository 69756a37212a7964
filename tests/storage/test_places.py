"""The shortcut past the tables never says that something stored is not."""

import random

import pyarrow as pa
import pytest

from contracts.ports import Changes
from contracts.testing import Spans
from storage import places
from storage.places import Hashes
from storage.store import Store


def test_hashes_agree_with_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "RUN", 50)
    chance = random.Random(3)
    numbers = [chance.choice((chance.getrandbits(64), chance.getrandbits(6))) for _ in range(2000)]
    hashes, expected = Hashes(), set(numbers[:500])
    hashes.add_sorted(pa.array(sorted(expected), pa.uint64()))
    for start in range(500, 2000, 37):
        hashes.add(numbers[start : start + 37])
        expected.update(numbers[start : start + 37])
        probes = [*numbers[start - 400 : start + 37], *(chance.getrandbits(64) for _ in range(50))]
        assert [n in hashes for n in probes] == [n in expected for n in probes]


def test_beyond_the_bound_everything_may_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST", 3)
    hashes = Hashes()
    hashes.add_sorted(pa.array([1, 2, 3, 4], pa.uint64()))
    assert 99 in hashes


def test_traces_of_an_earlier_run_are_found(store: Store) -> None:
    span = Spans(1).span("x")
    store.commit(Changes(spans=[span]))
    store.reopen()
    later = Spans(2).span("y")
    store.commit(Changes(spans=[later]))
    found = store.restore_traces(frozenset({span.trace_id, later.trace_id, "f" * 32}))
    assert {s.name for s in found.spans} == {"x", "y"}
