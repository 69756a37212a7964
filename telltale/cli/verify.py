"""`telltale verify`: the store's integrity."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table


@click.command("verify")
@config_option
@data_option
@json_option
def command(config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Check that every span is stored once, nothing is orphaned, and every baseline is intact.

    Exits with 1 if anything is wrong.
    """
    from contracts.errors import BaselineError
    from telltale import references
    from telltale.client import opened
    from telltale.config import load

    settings = load(config_path, data)
    with opened(settings) as store:
        found = store.verify()
        problems = list(found.problems)
        for info in store.baselines():
            try:
                references.load(store, settings, info.name, "*")
            except BaselineError as error:
                problems.append(f"baseline {info.name}: {error}")
    if as_json:
        print_json({"rows": found.rows, "problems": problems})
    else:
        print_table(("table", "rows"), list(found.rows.items()))
        for problem in problems:
            click.echo(f"! {problem}")
        if not problems:
            click.echo("nothing is wrong")
    return 1 if problems else 0
