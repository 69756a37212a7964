"""`telltale trajectory`: one as a timeline, lists, search."""

from pathlib import Path
from typing import Any

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table


@click.group("trajectory")
def command() -> None:
    """Show, list and search trajectories."""


@command.command("show")
@click.argument("trajectory_id")
@config_option
@data_option
@json_option
def show(trajectory_id: str, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """One trajectory as a timeline of its calls, with outcomes and labels."""
    from telltale.client import connect
    from telltale.config import load

    with connect(load(config_path, data)) as client:
        detail = client.get(f"/api/v1/trajectories/{trajectory_id}")
    if as_json:
        print_json(detail)
        return 0
    trajectory = detail["trajectory"]
    click.echo(
        f"{trajectory['trajectory_id']}  {trajectory['environment']}  {trajectory['agent']} "
        f"{trajectory['agent_version']}  {trajectory['model']}  {trajectory['state']}"
    )
    if trajectory["request"]:
        click.echo(f"asked: {trajectory['request'][:300]!r}")
    labels: dict[int, list[str]] = {}
    for action in detail["actions"]:
        text = f"{action['category']} {action['variant']} ({action['stage']})"
        labels.setdefault(action["step"], []).append(text)
    print_table(
        ("step", "at", "agent", "tool", "arguments", "outcome", "labels"),
        [
            (c["step"], (c["started_at"] or "")[:23], c["agent"], c["tool"], _short(c["arguments"]),
             c["outcome"], "; ".join(labels.get(c["step"], ())))
            for c in trajectory["calls"]
        ],
    )  # fmt: skip
    return 0


def _filters(function: Any) -> Any:
    for name, text in (
        ("--environment", "Only of this environment."),
        ("--agent", "Only of this agent."),
        ("--model", "Only of this model."),
        ("--category", "With an action of this category, e.g. UA01."),
        ("--tool", "With a call of this tool."),
        ("--since", "Started at or after this time (RFC 3339)."),
        ("--until", "Started before this time (RFC 3339)."),
    ):
        function = click.option(name, default="", help=text)(function)
    limit = click.option(
        "--limit",
        default=50,
        show_default=True,
        type=click.IntRange(1, 1000),
        help="At most so many.",
    )
    return limit(function)


@command.command("list")
@_filters
@config_option
@data_option
@json_option
def list_(
    limit: int, config_path: Path | None, data: Path | None, as_json: bool, **filters: str
) -> int:
    """Trajectories, newest first."""
    from telltale.client import connect
    from telltale.config import load

    asked: dict[str, str | int] = {key: value for key, value in filters.items() if value}
    with connect(load(config_path, data)) as client:
        found = client.get("/api/v1/trajectories", {**asked, "limit": limit})
    if as_json:
        print_json(found)
    else:
        _table(found)
    return 0


@command.command("search")
@click.option(
    "--sequence",
    default="",
    metavar="TOOL>TOOL",
    help="Tools (globs) called in this order, other calls between them allowed.",
)
@click.option("--argument", default="", help="Text that the arguments of a call contain.")
@_filters
@config_option
@data_option
@json_option
def search(
    sequence: str,
    argument: str,
    limit: int,
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
    **filters: str,
) -> int:
    """Trajectories by sequence of tools, argument text, tool, category and time.

    Exits with 2 where nothing is found.
    """
    from telltale.client import connect
    from telltale.config import load
    from telltale.hunting import search_sql

    sql = search_sql(sequence, argument, filters, limit)
    with connect(load(config_path, data)) as client:
        found = client.rows(sql)
    if as_json:
        print_json(found)
    else:
        _table(found)
    return 0 if found else 2


def _table(found: list[dict[str, Any]]) -> None:
    print_table(
        ("trajectory", "started", "environment", "agent", "model", "calls", "errors", "denied",
         "categories"),
        [
            (t["trajectory_id"], str(t["started_at"])[:19], t["environment"], t["agent"],
             t["model"], t["calls"], t["errors"], t["denied"], " ".join(t["categories"] or ()))
            for t in found
        ],
    )  # fmt: skip


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 100 else text[:97] + "..."
