"""`/api/v1/query`: read-only SQL over the views."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# pyarrow's stubs leave the types of columns open

import io
import json
import threading
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from contracts.errors import Busy
from telltale.api.guard import Limits
from telltale.api.models import ErrorModel, jsonable
from telltale.api.ports import Ports, QueryResult

Format = Literal["json", "csv", "arrow", "parquet"]
MEDIA_TYPES: dict[str, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
TRUNCATED_HEADER = "Telltale-Truncated"
"""`true` where the answer holds fewer rows than the query has."""


class QueryRequest(BaseModel):
    """`max_rows`: at most the server's own limit, which is also the default."""

    model_config = ConfigDict(extra="forbid")

    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    format: Format = "json"
    max_rows: Annotated[int, Field(ge=1)] | None = None


class Column(BaseModel):
    name: str
    type: str


class QueryResponse(BaseModel):
    """The JSON format. `rows`: one list per row, in the order of `columns`."""

    columns: list[Column]
    rows: list[list[Any]]
    truncated: bool


def router(ports: Ports, limits: Limits) -> APIRouter:
    """The route, over `ports`."""
    routes = APIRouter(tags=["query"])
    slots = threading.BoundedSemaphore(limits.queries)

    @routes.post(
        "/api/v1/query",
        response_class=Response,
        responses={
            200: {"model": QueryResponse, "content": {t: {} for t in MEDIA_TYPES.values()}},
            400: {"model": ErrorModel, "description": "Refused, or past its limits"},
            503: {"model": ErrorModel, "description": "Too many queries at once"},
        },
    )
    def query(asked: QueryRequest) -> Response:
        """Run one read-only SELECT over the views `spans`, `calls`, `actions`, `trajectories`,
        `verdicts`, `evidence`, `alerts`, `gaps`, `dead_letters`, `subjects`, `lineage` and
        `baselines`.
        """
        if not slots.acquire(blocking=False):
            raise Busy(f"{limits.queries} queries are running already", 2.0)
        try:
            result = ports.query(asked.sql, min(asked.max_rows or limits.rows, limits.rows))
            body = encode(result, asked.format)
        finally:
            slots.release()
        headers = {TRUNCATED_HEADER: "true" if result.truncated else "false"}
        if asked.format != "json":
            headers["Content-Disposition"] = f'attachment; filename="query.{asked.format}"'
        return Response(body, headers=headers, media_type=MEDIA_TYPES[asked.format])

    return routes


def encode(result: QueryResult, form: Format) -> bytes:
    """The result's bytes. Nested values become JSON text in CSV, which has no types."""
    if form == "json":
        return _json(result)
    sink = io.BytesIO()
    if form == "csv":
        pa_csv.write_csv(_flat(result.table), sink)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, result.table.schema) as writer:
            writer.write_table(result.table)
    else:
        pa_parquet.write_table(result.table, sink, compression="zstd")
    return sink.getvalue()


def _json(result: QueryResult) -> bytes:
    table = result.table
    answer = {
        "columns": [{"name": field.name, "type": str(field.type)} for field in table.schema],
        "rows": [list(row) for row in rows(table)],
        "truncated": result.truncated,
    }
    return json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


def rows(table: pa.Table) -> Iterator[tuple[object, ...]]:
    """The rows in JSON's types; times as the table's own text."""
    columns = [
        [jsonable(item) for item in cast("list[object]", _printable(column).to_pylist())]
        for column in table.columns
    ]
    return zip(*columns, strict=True)


def _printable(column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return column.cast(pa.string())  # Python's datetime would lose the nanoseconds
    return column


def _flat(table: pa.Table) -> pa.Table:
    columns: list[pa.ChunkedArray[Any]] = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            values = cast("list[object]", column.to_pylist())
            texts = [
                None if item is None else json.dumps(jsonable(item), ensure_ascii=False)
                for item in values
            ]
            columns.append(pa.chunked_array([pa.array(texts, pa.string())]))
        else:
            columns.append(column)
    return pa.table(columns, names=table.column_names)
