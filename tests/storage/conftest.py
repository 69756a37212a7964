"""A store in a folder of its own, under a clock that the test moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.testing import ManualClock
from storage.store import Store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    made = Store(tmp_path / "data", clock)
    yield made
    made.close()
