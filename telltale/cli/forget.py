"""`telltale forget`: delete trajectories, with a receipt."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import print_json, print_table


@click.command("forget")
@where_option
@click.option("--reason", required=True, help="Why; stands on the receipt.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@data_option
@json_option
def command(
    where: str, reason: str, yes: bool, config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """Delete the trajectories that meet the condition and all their spans, with a receipt."""
    from telltale.admin import forget
    from telltale.client import existing
    from telltale.config import load

    settings = existing(load(config_path, data))
    if not yes:
        click.confirm(f"Delete for good what meets: {where}?", abort=True, err=True)
    receipt = forget(settings, where, reason)
    if as_json:
        print_json(receipt)
    else:
        print_table(("receipt", ""), list(receipt.items()))
    return 0
