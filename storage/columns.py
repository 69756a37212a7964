"""How one field of a contracts type stands in a DuckDB column: written as Arrow, read as text.

Builders first try the whole column in C and mend it value by value only if that fails, so that
nothing a span contains can make a commit fail and ordinary spans pay nothing for it.
"""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeAlias, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from contracts.span import Event, Value
from storage.documents import clean_text, from_json, to_json

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

Row = TypeVar("Row")
Column: TypeAlias = "pa.Array[Any] | pa.ChunkedArray[Any]"
_NOT_AS_ARROW = (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Kind:
    """`build`: values to an Arrow column. `select`: SQL that reads the column `{}` so that `read`
    gives back the value.
    """

    build: Callable[[Sequence[Any]], Column]
    select: str = "{}"
    read: Callable[[Any], Any] | None = None


def _texts(values: Sequence[Any]) -> Column:
    try:
        return pa.array(values, pa.string())
    except _NOT_AS_ARROW:
        return pa.array([None if v is None else clean_text(str(v)) for v in values], pa.string())


def _integer(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return min(max(int(value), INT64_MIN), INT64_MAX)
    except (TypeError, ValueError, OverflowError):
        return 0  # NaN or text where the contract says integer


def _integers(values: Sequence[Any]) -> Column:
    try:
        return pa.array(values, pa.int64())
    except _NOT_AS_ARROW:
        return pa.array([_integer(value) for value in values], pa.int64())


def _floats(values: Sequence[Any]) -> Column:
    try:
        return pa.array(values, pa.float64())
    except _NOT_AS_ARROW:
        return pa.array([_float(value) for value in values], pa.float64())


def _float(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except (TypeError, ValueError):
        return float("nan")


def _flags(values: Sequence[Any]) -> Column:
    return pa.array([bool(value) for value in values], pa.bool_())


def _times(values: Sequence[Any]) -> Column:
    # DuckDB refuses -2**63; a time before 1970 is not one that a span can have.
    return cast("Column", pc.max_element_wise(_integers(values), 0).cast(pa.timestamp("ns", "UTC")))


def _lists(values: Sequence[Any]) -> Column:
    try:
        return pa.array(values, pa.list_(pa.string()))
    except _NOT_AS_ARROW:
        return pa.array(
            [[clean_text(str(item)) for item in value] for value in values], pa.list_(pa.string())
        )


def _documents(values: Sequence[Any]) -> Column:
    # Spans of one resource share its mapping; within one batch it is written once.
    written: dict[int, str] = {}
    texts: list[str | None] = []
    for value in values:
        if value is None:
            texts.append(None)
            continue
        text = written.get(id(value))
        if text is None:
            text = written[id(value)] = to_json(value)
        texts.append(text)
    return pa.array(texts, pa.string())


def _events(values: Sequence[Sequence[Event]]) -> Column:
    return pa.array(
        [
            to_json(
                [
                    {
                        "name": e.name,
                        "time_ns": e.time_ns,
                        "attributes": cast("Value", e.attributes),
                    }
                    for e in events
                ]
            )
            if events
            else "[]"
            for events in values
        ],
        pa.string(),
    )


def _read_events(text: str) -> tuple[Event, ...]:
    return tuple(
        Event(event["name"], event["time_ns"], event["attributes"])
        for event in cast("list[dict[str, Any]]", from_json(text))
    )


def _read_document(text: str | None) -> Value:
    return None if text is None else from_json(text)


def _blobs(values: Sequence[Any]) -> Column:
    return pa.array([bytes(value) for value in values], pa.binary())


TEXT = Kind(_texts)
INTEGER = Kind(_integers)
FLOAT = Kind(_floats)
FLAG = Kind(_flags)
# DuckDB reads 2**63 - 1, to which the decoder clamps, as infinity, whose epoch_ns is NULL.
TIME = Kind(_times, f"coalesce(epoch_ns({{}}), {INT64_MAX})")
LIST = Kind(_lists, read=tuple)
DOCUMENT = Kind(_documents, read=_read_document)
EVENTS = Kind(_events, read=_read_events)
BLOB = Kind(_blobs)


@dataclass(frozen=True, slots=True)
class Shape(Generic[Row]):
    """A table's columns: (column, field of the row type as a dotted path, kind).

    `make`: the row type's constructor, given the values in the order of `columns`; None where rows
    are only written.
    """

    table: str
    columns: tuple[tuple[str, str, Kind], ...]
    make: Callable[..., Row] | None = None

    def arrow(self, rows: Sequence[Row], **constants: int) -> pa.Table:
        """The rows as Arrow. `constants`: further integer columns with one value for all rows."""
        values = zip(*map(attrgetter(*(field for _, field, _ in self.columns)), rows), strict=True)
        made: dict[str, Column] = {
            name: kind.build(column)
            for (name, _, kind), column in zip(self.columns, values, strict=True)
        }
        for name, constant in constants.items():
            made[name] = pa.array([constant] * len(rows), pa.int64())
        return pa.table(cast("Mapping[str, Any]", made))

    def select(self, alias: str = "") -> str:
        """The select list that `read` expects."""
        prefix = f"{alias}." if alias else ""
        return ", ".join(kind.select.format(prefix + name) for name, _, kind in self.columns)

    def read(self, rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        """Rows fetched with `select` as contracts types."""
        if self.make is None:
            raise TypeError(f"{self.table} is only written")
        if not rows:
            return []
        columns = [
            column if kind.read is None else map(kind.read, column)
            for column, (_, _, kind) in zip(zip(*rows, strict=True), self.columns, strict=True)
        ]
        return [self.make(*values) for values in zip(*columns, strict=True)]
