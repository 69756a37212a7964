"""`telltale retention`: delete what is old, with a receipt."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table


@click.command("retention")
@click.option("--days", type=click.IntRange(min=1), required=True, help="Keep this many days.")
@config_option
@data_option
@json_option
def command(days: int, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Delete the trajectories that nothing was heard of for so many days, with a receipt."""
    from telltale.admin import retain
    from telltale.client import existing
    from telltale.config import load

    receipt = retain(existing(load(config_path, data)), days)
    if as_json:
        print_json(receipt)
    else:
        print_table(("receipt", ""), list(receipt.items()))
    return 0
