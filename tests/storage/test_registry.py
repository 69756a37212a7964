"""Baselines never change under their name; lineage keeps every fact once."""

from dataclasses import replace

import pytest

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.errors import BaselineError
from storage.store import Store

TEACHER = BaselineInfo(
    name="teacher-1",
    kind="teacher",
    digest="ab12cd34" * 8,
    where="agent = 'support'",
    trajectories=120,
    calls=900,
    trajectories_digest="ff" * 32,
    created_ns=1_767_225_600_000_000_001,
    subjects=("production/support/1/m", "production/support/2/m"),
    active_for="",
    path="baselines/teacher-1",
    signed_by="ed25519:abc",
)
BASE = replace(TEACHER, name="base-1", kind="base", digest="ab12ffff" * 8, created_ns=5)


def test_baselines_are_listed_oldest_first_and_found_by_name_or_digest(store: Store) -> None:
    store.add_baseline(TEACHER)
    store.add_baseline(BASE)
    assert store.baselines() == [BASE, TEACHER]
    assert store.baseline("teacher-1") == TEACHER
    assert store.baseline("AB12CD34ab") == TEACHER
    for name, said in (
        ("ab12", "no baseline ab12; there are: base-1, teacher-1"),  # too short for a digest
        ("nope", "no baseline nope"),
        ("", "no baseline"),
    ):
        with pytest.raises(BaselineError, match=said):
            store.baseline(name)


def test_a_prefix_of_two_digests_needs_more_digits(store: Store) -> None:
    store.add_baseline(TEACHER)
    store.add_baseline(replace(BASE, digest="ab12cd34" * 7 + "00000000"))
    with pytest.raises(BaselineError, match="2 digests"):
        store.baseline("ab12cd")


def test_a_name_keeps_its_content(store: Store) -> None:
    store.add_baseline(TEACHER)
    store.add_baseline(TEACHER)
    store.add_baseline(replace(TEACHER, path="moved", signed_by="other"))
    assert store.baselines() == [replace(TEACHER, path="moved", signed_by="other")]
    with pytest.raises(BaselineError, match="another content"):
        store.add_baseline(replace(TEACHER, digest="00" * 32))
    assert store.baseline("teacher-1").digest == TEACHER.digest


def test_promotion_is_kept_and_withdrawn(store: Store) -> None:
    store.add_baseline(TEACHER)
    store.promote("teacher-1", "production/support/*")
    store.reopen()
    assert store.baseline("teacher-1").active_for == "production/support/*"
    store.add_baseline(TEACHER)  # registering it again does not withdraw it
    assert store.baseline("teacher-1").active_for == "production/support/*"
    store.promote("teacher-1", "")
    assert store.baselines() == [TEACHER]
    with pytest.raises(BaselineError, match="no baseline nope"):
        store.promote("nope", "*")


def test_lineage_keeps_each_fact_once_in_the_order_told(store: Store) -> None:
    first = LineageEntry("m-2", "teacher", "m-1", "", 7, {"temperature": 0.2, "rows": 10})
    second = LineageEntry("m-2", "dataset", "traces.parquet", "aa" * 32, 8)
    other = LineageEntry("m-3", "teacher", "m-2", "", 6)
    for entry in (first, second, other, first, replace(first, recorded_ns=99)):
        store.add_lineage(entry)
    assert store.lineage("m-2") == [first, second]
    assert store.lineage() == [other, first, second]
    assert store.lineage("unknown") == []
    rows = store.read("SELECT detail ->> '$.rows' FROM lineage WHERE relation = 'teacher'")
    assert sorted(str(row[0]) for row in rows) == ["10", "None"]
