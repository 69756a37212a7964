"""Real parts in a folder of their own: store, rule pack, a fitted baseline, scripted agents."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scripted_agents import Agent, payloads
from collector.replay import ReplaySource
from contracts.record import Partition, Position, Record
from contracts.testing import ManualClock
from detectors.baseline import FitSettings, fit_baseline
from detectors.rules.pack import RulePack
from detectors.train import TrainSettings
from storage.store import Store
from telltale import keys, references
from telltale.config import Settings, load
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import rule_pack, stages

BASE = Agent("ref", "m-base", habit=0.05)
STUDENT = Agent("live", "m-student", habit=0.9)
SPACING_S = 400
"""Between two records' receipts: more than a trajectory's idle time-out."""

Open = Callable[[Path], Store]
Build = Callable[[Store], Pipeline]


def records(
    agent: Agent, trajectories: int, per_record: int = 5, spacing_s: int = 0
) -> list[Record]:
    """OTLP records of one Kafka partition, `spacing_s` between their receipts."""
    start_ns = ManualClock().now_ns()
    return [
        Record(
            payload,
            "traces",
            "otlp_proto",
            "kafka:spans",
            start_ns + index * spacing_s * 1_000_000_000,
            Position(Partition("spans", 0), index),
            ticket=index + 1,
        )
        for index, payload in enumerate(payloads(agent, trajectories, per_record))
    ]


def free(data: Path) -> Settings:
    """Settings of a daemon on free ports, without variables of the environment."""
    return load(data=data).model_copy(
        update={
            "otlp": load().otlp.model_copy(update={"http": "127.0.0.1:0", "grpc": None}),
            "api": load().api.model_copy(update={"listen": "127.0.0.1:0"}),
        }
    )


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELLTALE_DATA", raising=False)


@pytest.fixture(scope="session")
def pack() -> RulePack:
    return rule_pack(load())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(clock: ManualClock) -> Iterator[Open]:
    """Opens stores that are closed at the end."""
    opened: list[Store] = []

    def make(folder: Path) -> Store:
        opened.append(Store(folder, clock))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def pipeline_on(pack: RulePack, tmp_path: Path) -> Build:
    """A pipeline of the production stages over a store."""

    def build(store: Store, folder: Path = tmp_path) -> Pipeline:
        return Pipeline(stages(free(folder), store, pack), store)

    return build


@pytest.fixture(scope="session")
def fitted_once(pack: RulePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    clock = ManualClock()
    settings = free(folder)
    store = Store(folder, clock)
    pipeline = Pipeline(stages(settings, store, pack), store)
    replay(ReplaySource(iter(records(BASE, 150, 10))), pipeline, store, clock)
    where = "environment = 'ref'"
    _, info = fit_baseline(
        "base",
        "base",
        store.trajectories(where),
        pack,
        where,
        FitSettings(
            parent=folder / references.FOLDER,
            created_ns=clock.now_ns(),
            rules_digest=pack.digest(),
            target_key=keys.secret(folder, keys.TARGETS),
            tests=references.tests(settings.detection),
            train=TrainSettings(rungs=("table",)),
        ),
    )
    store.add_baseline(replace(info, active_for="live/*"))
    store.forget("environment = 'ref'", "only the baseline is wanted")
    store.read("SELECT 1")
    store.close()
    return folder


@pytest.fixture
def fitted(fitted_once: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A new data folder in which the baseline `base` judges everything of environment `live`."""

    def copy(name: str) -> Path:
        shutil.copytree(fitted_once, tmp_path / name)
        return tmp_path / name

    return copy


def rows(store: Store, sql: str) -> Sequence[tuple[object, ...]]:
    """Rows of a statement."""
    return store.read(sql)
