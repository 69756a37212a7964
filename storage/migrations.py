"""The schema as an ordered list of named migrations, each applied in the transaction that records
it.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import duckdb

from contracts.errors import ConfigError


class Migration(NamedTuple):
    """One step of the schema. Never edit one that was released: add another."""

    name: str
    sql: str


def shipped() -> tuple[Migration, ...]:
    """The migrations of this version, in order: `storage/sql/NNNN_name.sql`."""
    folder = files("storage").joinpath("sql")
    scripts = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(Migration(f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in scripts)


def schema(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Names of the migrations that made this file what it is; () for a new one."""
    known = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'data' AND table_name = 'migrations'"
    ).fetchall()
    if not known:
        return ()
    rows = connection.execute("SELECT name FROM data.migrations ORDER BY number").fetchall()
    return tuple(str(name) for (name,) in rows)


def pending(done: Sequence[str], migrations: Sequence[Migration]) -> Sequence[Migration]:
    """Those of `migrations` that a file with the schema `done` lacks.

    Raises `ConfigError` where the file has migrations that this version does not know, or knows in
    another order.
    """
    known = [migration.name for migration in migrations]
    if list(done) != known[: len(done)]:
        foreign = next((name for name in done if name not in known), done[-1])
        raise ConfigError(
            "data",
            f"the store was written by another version of Telltale (schema {foreign}); "
            "use that version or a newer one",
        )
    return migrations[len(done) :]


def apply(
    connection: duckdb.DuckDBPyConnection, migrations: Sequence[Migration], now_ns: int
) -> tuple[str, ...]:
    """Names of the migrations applied now; () where the file is up to date.

    A migration that fails leaves no trace, and those before it stay. Raises as `pending`.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS data")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS data.migrations "
        "(number BIGINT NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ_NS NOT NULL)"
    )
    done = schema(connection)
    applied: list[str] = []
    for number, migration in enumerate(pending(done, migrations), start=len(done)):
        connection.execute("BEGIN")
        try:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO data.migrations VALUES (?, ?, make_timestamp_ns(?)::TIMESTAMPTZ_NS)",
                [number, migration.name, now_ns],
            )
        except duckdb.Error:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        applied.append(migration.name)
    return tuple(applied)
