"""What the runbooks and the operations page tell people to type works."""

import re
from collections.abc import Generator
from pathlib import Path

import click
import pytest

from contracts.testing import ManualClock
from storage.store import Store
from telltale.cli import COMMANDS, cli

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "runbooks").glob("*.md")), DOCS / "operations.md", DOCS / "metrics.md"]


def queries() -> list[str]:
    """Every statement that a page passes to `telltale query`."""
    found: list[str] = []
    for page in PAGES:
        found += re.findall(r'telltale query "([^"]+)"', page.read_text())
    return sorted(set(found))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Generator[Store]:
    made = Store(tmp_path_factory.mktemp("store"), ManualClock())
    yield made
    made.close()


def test_there_are_queries() -> None:
    assert len(queries()) > 20


@pytest.mark.parametrize("sql", queries())
def test_queries_run(sql: str, store: Store) -> None:
    store.read(sql)


def test_commands_exist() -> None:
    named: set[tuple[str, str]] = set()
    for page in PAGES:
        for command, rest in re.findall(r"`?telltale ([a-z]+)((?: [a-z]+)?)", page.read_text()):
            named.add((command, rest.strip()))
    context = click.Context(cli)
    for name, rest in named:
        assert name in COMMANDS, name
        command = cli.get_command(context, name)
        if isinstance(command, click.Group) and rest:
            assert command.get_command(context, rest) is not None, f"{name} {rest}"
