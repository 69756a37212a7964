"""What commands print: one JSON document, JSON lines, or a table; progress on standard error."""

import errno
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from math import isnan
from pathlib import Path
from typing import cast

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.errors import OutputError


class OutputFile(click.Path):
    """A file to be written. One that cannot be is refused before any work: `OutputError`."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = Path(str(value))
        super().convert(str(path), param, ctx)
        if not path.parent.is_dir():
            raise OutputError(path, f"there is no folder {path.parent}")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise OutputError(path, os.strerror(errno.EACCES))
        return path


def write(path: Path, content: str | bytes) -> None:
    """Write a file that was asked for. Raises `OutputError`."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(path, str(error.strerror)) from error


def print_json(value: object) -> None:
    """One JSON document (or one line of JSON lines). Dataclasses and times are understood."""
    click.echo(orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS))


def _plain(value: object) -> object:
    if isinstance(value, (datetime, date, timedelta, Decimal)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset, tuple)):
        return list(cast("Iterable[object]", value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table; numbers to the right, None and NaN as `-`. Text is shown as it is, not as markup."""
    table = _table(columns, rows, title)
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        click.echo(_text(table), nl=False)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """The table of `print_table` as it is written to a file."""
    return _text(_table(columns, rows, title))


def _text(table: Table) -> str:
    """As wide as it has to be, without the padding at the line ends."""
    wide = Console(width=10_000, file=StringIO())
    with wide.capture() as captured:
        wide.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    body = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(body) and all(
            isinstance(row[index], (int, float)) or row[index] is None for row in body
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if isnan(value) else f"{value:.4g}"
    # control characters of stored text must not reach the terminal
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value)
    )


@contextmanager
def progress(description: str, total: int | None = None) -> Generator[Progress]:
    """A progress bar on standard error; silent where that is no terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        bar.add_task(description, total=total)
        yield bar
