"""`telltale gate`: the release gate."""

from dataclasses import replace
from pathlib import Path

import click

from contracts.labels import CATEGORY_IDS
from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import OutputFile, print_json, print_table, progress, write


@click.command("gate")
@where_option
@click.option(
    "--reference",
    "names",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A baseline; repeatable.",
)
@click.option(
    "--require",
    "required",
    multiple=True,
    type=click.Choice(CATEGORY_IDS),
    help="Category that must be `clear`; repeatable.  [default: those the references know]",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Chance of ever refusing a release that is no worse than its references.",
)
@click.option(
    "--junit",
    "junit_path",
    type=OutputFile(),
    help="Write JUnit XML here.",
)
@click.option(
    "--sarif",
    "sarif_path",
    type=OutputFile(),
    help="Write SARIF here.",
)
@config_option
@data_option
@json_option
def command(
    where: str,
    names: tuple[str, ...],
    required: tuple[str, ...],
    alpha: float,
    junit_path: Path | None,
    sarif_path: Path | None,
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Gate a release: the anytime-valid test of its trajectories against frozen references.

    Exits with 1 if any verdict is `alarm`, 2 if a required category is not `clear` (it says how
    many opportunities are still needed), 0 if the release may go.
    """
    import importlib.metadata

    import orjson

    from telltale import references
    from telltale.client import opened
    from telltale.config import load
    from telltale.judging import judge, place, told
    from telltale.pipeline import subject_of
    from telltale.stages import rule_pack
    from telltale.verdict_reports import NOTHING, junit, sarif

    settings = load(config_path, data)
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]
        loaded = [references.load(store, settings, name, "*") for name in dict.fromkeys(names)]
        tests = replace(references.tests(settings.detection), mode="gate", alpha=alpha)
        outcome = judge(
            store.trajectories(where),
            loaded,
            rule_pack(settings),
            subject_of(settings.subject),
            tests,
            lambda judged: bar.advance(task),
        )
    must = frozenset(required) or references.known_categories(loaded)
    if junit_path is not None:
        write(junit_path, junit(outcome.verdicts, must))
    if sarif_path is not None:
        document = sarif(outcome.verdicts, importlib.metadata.version("telltale"))
        write(sarif_path, orjson.dumps(document))
    alarms = [v for v in outcome.verdicts if v.state == "alarm"]
    open_ones = [v for v in outcome.verdicts if v.category in must and v.state != "clear"]
    code = 1 if alarms else 2 if open_ones or not outcome.verdicts else 0
    undecided = sorted(
        {v.category for v in outcome.verdicts if v.state != "clear" and v.category not in must}
    )
    if as_json:
        print_json(
            {
                "passed": code == 0,
                "trajectories": outcome.trajectories,
                "alpha": alpha,
                "required": sorted(must),
                "not_decided": undecided,
                "verdicts": [told(verdict, outcome) for verdict in outcome.verdicts],
            }
        )
        return code
    shown = [
        v
        for v in outcome.verdicts
        if v in alarms or v in open_ones or v.opportunities or outcome.unjudged[place(v)]
    ]
    print_table(
        ("subject", "category", "reference", "state", "k/n", "expected", "evidence", "needed",
         "why"),
        [
            (v.subject.label(), v.category, v.reference, v.state, f"{v.taken}/{v.opportunities}",
             v.expected, f"10^{v.evidence_log10:.1f}", v.needed, v.reason)
            for v in shown
        ],
        title=f"{outcome.trajectories} trajectories, alpha {alpha}",
    )  # fmt: skip
    words = {0: "may be released", 1: "must not be released", 2: "cannot be told yet"}
    click.echo(words[code])
    if undecided:
        click.echo(f"not decided, and not required: {', '.join(undecided)}")
    if not outcome.verdicts:
        click.echo(NOTHING, err=True)
    return code
