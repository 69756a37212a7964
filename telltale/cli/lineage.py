"""`telltale lineage`: who was distilled from whom, on what data, and who audited it."""

from pathlib import Path

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table

RELATIONS = ("teacher", "base", "dataset", "filter", "audit", "note")


@click.group("lineage")
def command() -> None:
    """Models, teachers, distillation data, audits."""


@command.command("add")
@click.argument("model")
@click.argument("relation", type=click.Choice(RELATIONS))
@click.argument("value")
@click.option("--digest", default="", help="SHA-256 of the data set, report or weights.")
@click.option("--file", "file_path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Take the digest of this file.")  # fmt: skip
@click.option("--detail", multiple=True, metavar="KEY=VALUE", help="Further facts; repeatable.")
@config_option
@data_option
def add(
    model: str,
    relation: str,
    value: str,
    digest: str,
    file_path: Path | None,
    detail: tuple[str, ...],
    config_path: Path | None,
    data: Path | None,
) -> int:
    """Record that MODEL has VALUE as its RELATION, e.g. `lineage add acme-8b teacher acme-70b`."""
    import hashlib

    from contracts.baseline import LineageEntry
    from contracts.clock import SystemClock
    from contracts.span import Value
    from telltale.admin import add_lineage
    from telltale.config import load

    facts: dict[str, Value] = {}
    for each in detail:
        key, equals, text = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not KEY=VALUE", param_hint="--detail")
        facts[key] = text
    if file_path is not None:
        with file_path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    entry = LineageEntry(model, relation, value, digest, SystemClock().now_ns(), facts)
    add_lineage(load(config_path, data), entry)
    click.echo(f"{model}: {relation} {value}")
    return 0


@command.command("show")
@click.argument("model", default="")
@config_option
@data_option
@json_option
def show(model: str, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """What is recorded of MODEL and of the models it comes from; all models without MODEL."""
    from telltale.client import opened
    from telltale.config import load
    from telltale.descent import descent

    with opened(load(config_path, data)) as store:
        entries = descent(store, model) if model else store.lineage()
    if as_json:
        print_json(entries)
    else:
        print_table(
            ("model", "relation", "value", "digest", "detail"),
            [
                (e.model, e.relation, e.value, e.digest[:12],
                 " ".join(f"{k}={v!s}" for k, v in e.detail.items()))
                for e in entries
            ],
        )  # fmt: skip
    return 0 if entries else 2


@command.command("export")
@click.argument("model")
@config_option
@data_option
def export(model: str, config_path: Path | None, data: Path | None) -> int:
    """A CycloneDX 1.6 ML-BOM of MODEL, its ancestors, data sets and audits, as JSON."""
    from telltale.client import opened
    from telltale.config import load
    from telltale.descent import bill_of_materials, descent

    with opened(load(config_path, data)) as store:
        entries = descent(store, model)
        baselines = store.baselines()
    print_json(bill_of_materials(model, entries, baselines))
    return 0 if entries else 2
