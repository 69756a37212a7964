"""`telltale export`: the views as Parquet, a trajectory as Markdown or OTLP."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table, write


@click.command("export")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--view", "views", multiple=True, help="Only this view; repeat for several.")
@click.option("--trajectory", default="", metavar="ID", help="Only this trajectory, to a file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("parquet", "otlp", "markdown")),
    default="parquet",
    show_default=True,
    help="otlp (JSON) and markdown need --trajectory.",
)
@config_option
@data_option
@json_option
def command(
    output: Path,
    views: tuple[str, ...],
    trajectory: str,
    form: str,
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Write the views to the folder OUTPUT as Parquet, or one trajectory to the file OUTPUT."""
    from telltale.client import NotFound, opened
    from telltale.config import load
    from telltale.stages import rule_pack

    if (form == "parquet") == bool(trajectory):
        raise click.UsageError("--trajectory goes with --format otlp or markdown, and needs one")
    settings = load(config_path, data)
    with opened(settings) as store:
        if form == "parquet":
            rows = dict(store.export(output, views))
        else:
            from telltale import portable

            if form == "otlp":
                text = portable.otlp_json(store, trajectory)
            else:
                text = portable.markdown(store, rule_pack(settings), trajectory)
            if text is None:
                raise NotFound(f"there is no trajectory {trajectory}")
            write(output, text)
            rows = {"trajectories": 1}
    if as_json:
        print_json(rows)
    else:
        print_table(("view", "rows"), list(rows.items()))
    return 0
