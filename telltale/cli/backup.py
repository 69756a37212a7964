"""`telltale backup`: a consistent copy of the store."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import OutputFile, print_json


@click.command("backup")
@click.argument("output", type=OutputFile())
@config_option
@data_option
@json_option
def command(output: Path, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Copy the whole store to the new file OUTPUT, also while the daemon runs.

    To restore, put the file into an empty folder as `telltale.duckdb`, beside the folders
    `baselines` and `keys` of the original.
    """
    from telltale.client import opened
    from telltale.config import load

    with opened(load(config_path, data)) as store:
        size = store.backup(output)
    if as_json:
        print_json({"output": str(output), "size_bytes": size})
    else:
        click.echo(f"{output}: {size} bytes")
    return 0
