"""The child process that runs one query of a responder, then ends: `python -I -m storage.sandbox`.

It takes a JSON request on standard input and answers on standard output: the line `{"ready": true}`
once it is locked down, the line `{"rows": n}`, then one Arrow IPC stream; or a line that says why
not. The order of its settings matters: a read-only connection with external access off still
overwrites its own file, and only statements that run before the lock can lock.
"""

# pyarrow-stubs are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import json
import os
import resource
import sys
import time
from io import IOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

import duckdb
import pyarrow as pa

from contracts.errors import QueryRefused
from storage.conditions import USER_ERRORS
from storage.database import CLOSED, log_path
from storage.guard import check_query
from storage.landlock import no_new_privileges, restrict

THREADS = 2
ADDRESS_SPACE_MB = 1280
"""Allowed above DuckDB's memory limit: the interpreter, libraries, thread stacks, the result."""

BATCH_ROWS = 4096
# DuckDB aborts the process where it cannot read these.
_NEEDED = ("/proc/self/cgroup", "/proc/meminfo", "/sys")


def main() -> None:
    """Answer the one request on standard input."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing else may write into the answer
    request = cast("dict[str, Any]", json.loads(sys.stdin.buffer.read()))
    try:
        connection = prepare(request)
        _say(out, {"ready": True})
        _answer(connection, request, out)
    except QueryRefused as error:
        _say(out, {"refused": str(error)})
    except duckdb.OutOfMemoryException:
        _say(out, {"refused": _too_large(request)})
    except USER_ERRORS as error:
        _say(out, {"refused": _without_paths(str(error), request)})
    except duckdb.Error as error:
        interrupted = isinstance(error, duckdb.InterruptException)
        said = _too_long(request) if interrupted else _without_paths(str(error), request)
        _say(out, {"refused" if interrupted else "failed": said})
    except MemoryError:
        _say(out, {"refused": _too_large(request)})
    out.close()
    os._exit(0)  # destructors of a starved or locked-down process have nothing to save


def prepare(request: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Lock this process down; a read-only connection to the file of the request.

    Where the kernel has no Landlock the other layers stand alone; the store says so at its start.
    """
    database = str(request["database"])
    memory_mb = int(request["memory_mb"])
    timeout_s = float(request["timeout_s"])
    address_space = (memory_mb + ADDRESS_SPACE_MB) * 1_048_576
    used_s = time.process_time()
    for name, limit in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CPU, int(used_s + THREADS * timeout_s) + 2),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (limit, limit))
    no_new_privileges()
    log = str(log_path(Path(database)))
    restrict((database, log, *_NEEDED))
    connection = duckdb.connect(
        database,
        read_only=True,
        config={
            **CLOSED,
            "memory_limit": f"{memory_mb}MB",
            "threads": str(THREADS),
            "temp_directory": "",
            "max_temp_directory_size": "0GB",
        },
    )
    for statement in (
        "SET GLOBAL TimeZone = 'UTC'",
        "SET enable_external_access = false",
        # After opening: reads through handles already open go on, nothing else can be opened.
        "SET disabled_filesystems = 'LocalFileSystem'",
        f"SET max_execution_time = {int(timeout_s * 1000)}",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)
    return connection


def _answer(connection: duckdb.DuckDBPyConnection, request: dict[str, Any], out: BinaryIO) -> None:
    sql = str(request["sql"])
    check_query(connection, sql)
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefused("only a SELECT is allowed, and only one")
    max_rows, max_bytes = int(request["max_rows"]), int(request["max_result_mb"]) * 1_000_000
    reader = connection.sql(sql).to_arrow_reader(BATCH_ROWS)
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        rows += batch.num_rows
        size += batch.nbytes
        if rows > max_rows:
            raise QueryRefused(f"the result has more than {max_rows:,} rows; add a LIMIT")
        if size > max_bytes:
            raise QueryRefused(
                f"the result is larger than {max_bytes // 1_000_000} MB; ask for less"
            )
        batches.append(batch)
    _say(out, {"rows": rows})
    with pa.ipc.new_stream(pa.PythonFile(cast("IOBase", out), "w"), reader.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _say(out: BinaryIO, line: dict[str, Any]) -> None:
    data = memoryview(json.dumps(line).encode() + b"\n")
    while data:
        data = data[out.write(data) or 0 :]


def _too_large(request: dict[str, Any]) -> str:
    return f"the query needs more than {request['memory_mb']} MB of memory; ask for less at once"


def _too_long(request: dict[str, Any]) -> str:
    return f"the query ran longer than {request['timeout_s']:g} s"


def _without_paths(message: str, request: dict[str, Any]) -> str:
    folder = os.path.dirname(str(request["database"]))
    return message.replace(folder, "").strip()[:2000]


if __name__ == "__main__":
    main()
