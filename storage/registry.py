"""Baselines and lineage: which reference applies, and who was distilled from whom."""

from collections.abc import Sequence

import duckdb

from contracts.baseline import BaselineInfo, LineageEntry
from contracts.errors import BaselineError
from storage.changes import insert
from storage.rows import BASELINES, LINEAGE

MIN_DIGEST = 6
"""Hex digits of a digest that a person must give to name a baseline by it."""


def add_baseline(connection: duckdb.DuckDBPyConnection, info: BaselineInfo) -> None:
    """Record a baseline. The same one again only updates where its files are and who signed it."""
    stored = [b for b in baselines(connection) if b.name == info.name]
    if stored and stored[0].digest != info.digest:
        raise BaselineError(
            f"there is already a baseline {info.name} with another content "
            f"(digest {stored[0].digest[:12]}); baselines never change, choose another name"
        )
    if stored:
        connection.execute(
            "UPDATE data.baselines SET path = ?, signed_by = ? WHERE name = ?",
            [info.path, info.signed_by, info.name],
        )
        return
    insert(connection, "data.baselines", BASELINES.arrow([info]))


def baselines(cursor: duckdb.DuckDBPyConnection) -> Sequence[BaselineInfo]:
    """All baselines, oldest first."""
    rows = cursor.execute(
        f"SELECT {BASELINES.select()} FROM data.baselines ORDER BY created_at, name"
    ).fetchall()
    return BASELINES.read(rows)


def baseline(cursor: duckdb.DuckDBPyConnection, name: str) -> BaselineInfo:
    """The baseline of that name, else the one whose digest starts so.

    Raises `BaselineError` for an unknown name and for a prefix of several digests.
    """
    known = baselines(cursor)
    for info in known:
        if info.name == name:
            return info
    prefix = name.lower()
    found = [b for b in known if len(prefix) >= MIN_DIGEST and b.digest.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BaselineError(f"{name} is the start of {len(found)} digests; give more digits")
    names = ", ".join(info.name for info in known) or "none"
    raise BaselineError(f"there is no baseline {name}; there are: {names}")


def promote(connection: duckdb.DuckDBPyConnection, name: str, active_for: str) -> None:
    """Set the subjects judged against a baseline. Raises `BaselineError` if there is none."""
    info = baseline(connection, name)
    connection.execute(
        "UPDATE data.baselines SET active_for = ? WHERE name = ?", [active_for, info.name]
    )


def add_lineage(connection: duckdb.DuckDBPyConnection, entry: LineageEntry) -> None:
    """Record a fact. The same fact again (model, relation, value, digest) is not repeated."""
    known = connection.execute(
        "SELECT 1 FROM data.lineage "
        "WHERE model = ? AND relation = ? AND value = ? AND digest = ? LIMIT 1",
        [entry.model, entry.relation, entry.value, entry.digest],
    ).fetchall()
    if not known:
        insert(connection, "data.lineage", LINEAGE.arrow([entry]))


def lineage(cursor: duckdb.DuckDBPyConnection, model: str = "") -> Sequence[LineageEntry]:
    """Facts of one model, or of all for "", in the order in which they were recorded."""
    rows = cursor.execute(
        f"SELECT {LINEAGE.select()} FROM data.lineage WHERE ? = '' OR model = ? "
        "ORDER BY recorded_at, rowid",
        [model, model],
    ).fetchall()
    return LINEAGE.read(rows)
