"""Fixtures and options for all rooms: shared data, golden files, real services.

`TELLTALE_REQUIRE=kafka,prometheus,chromium` turns a skip of a test so marked into a failure: where
the service was promised, that it is missing is no excuse.
`TELLTALE_TEST_KAFKA=host:port` uses a broker that runs already.
"""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka_broker import Broker, BrokerUnavailable

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN = REPOSITORY / "tests" / "golden"

# A busy machine is no failure: no example has a deadline, and slow draws are no health matter.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the files under tests/golden with what the tests produce",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required = set(os.environ.get("TELLTALE_REQUIRE", "").split(",")) - {""}
    missing = required & {mark.name for mark in item.iter_markers()}
    if report.skipped and missing and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"TELLTALE_REQUIRE has {', '.join(sorted(missing))}, but: {reason}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with the captured spans and trajectories."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no captured data: {folder.name}/ is not beside the repository")
    return folder


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name under `tests/golden`, or rewrites the file."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"tests/golden/{name} is missing: pytest --update-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[str]:
    """Address (`host:port`) of a real Apache Kafka broker, 4 partitions a topic by default."""
    address = os.environ.get("TELLTALE_TEST_KAFKA", "")
    if address:
        yield address
        return
    try:
        broker = Broker()
    except BrokerUnavailable as error:
        pytest.skip(f"no Kafka broker: {error}")
    try:
        broker.start()
        yield broker.address
    except BrokerUnavailable as error:
        pytest.skip(f"no Kafka broker: {error}")
    finally:
        broker.close()
