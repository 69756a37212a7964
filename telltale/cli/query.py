"""`telltale query`: read-only SQL over the views."""

import sys
from pathlib import Path

import click

from telltale.cli.options import config_option, data_option
from telltale.cli.output import OutputFile, print_json, print_table, table_text, write

FORMATS = ("table", "json", "csv", "parquet")


@click.command("query")
@click.argument("sql")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", help="Default: table."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--output",
    type=OutputFile(),
    help="Write to this file instead of standard output.",
)
@config_option
@data_option
def command(
    sql: str,
    form: str,
    as_json: bool,
    output: Path | None,
    config_path: Path | None,
    data: Path | None,
) -> int:
    """One read-only SELECT over the views `spans`, `calls`, `actions`, `opportunities`,
    `trajectories`, `verdicts`, `evidence`, `alerts`, `gaps`, `dead_letters`, `subjects`, `lineage`
    and `baselines`; `-` reads the SQL from standard input.

    Asks the daemon where one runs, else reads the store. The SQL runs in a sandboxed process.
    """
    import orjson
    import pyarrow.ipc as pa_ipc

    from telltale.client import connect
    from telltale.config import load

    statement = sys.stdin.read() if sql == "-" else sql
    form = "json" if as_json else form
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; use --output FILE")
    wire = form if form in ("csv", "parquet") else "arrow"
    with connect(load(config_path, data)) as client:
        body, truncated = client.query(statement, wire)
    if form in ("csv", "parquet"):
        if output is None:
            sys.stdout.buffer.write(body)
        else:
            write(output, body)
    else:
        table = pa_ipc.open_stream(body).read_all()
        rows = table.to_pylist()
        cells = [tuple(row.values()) for row in rows]
        if form == "json" and output is None:
            print_json(rows)
        elif form == "json" and output is not None:
            write(output, orjson.dumps(rows, default=str))
        elif output is not None:
            write(output, table_text(table.column_names, cells))
        else:
            print_table(table.column_names, cells)
    if truncated:
        click.echo("there are more rows than were asked for", err=True)
    return 0
