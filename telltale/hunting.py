"""Searches of responders as one SELECT over the views, every value quoted."""

from collections.abc import Mapping

COLUMNS = ("environment", "agent", "model")


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def search_sql(sequence: str, argument: str, filters: Mapping[str, str], limit: int) -> str:
    """Trajectories that meet all conditions, newest first; empty conditions ask nothing.

    `sequence`: globs of tool names joined by `>`, called in that order with any calls between.
    `filters`: environment, agent, model, category, tool, since, until.
    """
    conditions = ["true"]
    for column in COLUMNS:
        if value := filters.get(column, ""):
            conditions.append(f"t.{column} = {quoted(value)}")
    if value := filters.get("category", ""):
        conditions.append(f"list_contains(t.categories, {quoted(value)})")
    if value := filters.get("since", ""):
        conditions.append(f"t.started_at >= CAST({quoted(value)} AS TIMESTAMPTZ)")
    if value := filters.get("until", ""):
        conditions.append(f"t.started_at < CAST({quoted(value)} AS TIMESTAMPTZ)")
    if value := filters.get("tool", ""):
        conditions.append(_called(f"c.tool GLOB {quoted(value)}"))
    if argument:
        conditions.append(_called(f"contains(CAST(c.arguments AS VARCHAR), {quoted(argument)})"))
    steps = [part.strip() for part in sequence.split(">") if part.strip()]
    if steps:
        tables = ", ".join(f"calls s{index}" for index in range(len(steps)))
        order = [
            f"s{index}.trajectory_id = s0.trajectory_id AND s{index}.step > s{index - 1}.step"
            for index in range(1, len(steps))
        ]
        tools = [f"s{index}.tool GLOB {quoted(tool)}" for index, tool in enumerate(steps)]
        where = " AND ".join([*order, *tools])
        conditions.append(
            f"t.trajectory_id IN (SELECT s0.trajectory_id FROM {tables} WHERE {where})"
        )
    return (
        "SELECT t.trajectory_id, t.started_at, t.environment, t.agent, t.model, t.calls, "
        "t.errors, t.denied, t.categories FROM trajectories t "
        f"WHERE {' AND '.join(conditions)} ORDER BY t.started_at DESC LIMIT {int(limit)}"
    )


def _called(condition: str) -> str:
    return f"t.trajectory_id IN (SELECT c.trajectory_id FROM calls c WHERE {condition})"
