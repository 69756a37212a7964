"""`telltale backtest`: a detector over stored streams."""

from pathlib import Path

import click

from contracts.labels import CATEGORY_IDS
from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import print_json, print_table, progress

DETECTORS = ("e-detector", "windowed-rate", "bernoulli-cusum", "ewma")


@click.command("backtest")
@where_option
@click.option("--reference", required=True, metavar="NAME", help="The baseline to compare with.")
@click.option(
    "--detector",
    type=click.Choice(DETECTORS),
    default="e-detector",
    show_default=True,
    help="Telltale's own, or a detector of the marginal rate at the same mean run length.",
)
@click.option(
    "--onset",
    type=click.IntRange(min=1),
    help="Number of the first changed trajectory, where it is known.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    help="Trajectories after the onset within which an alarm counts as found.",
)
@click.option("--category", "only", type=click.Choice(CATEGORY_IDS), help="Only this category.")
@config_option
@data_option
@json_option
def command(
    where: str,
    reference: str,
    detector: str,
    onset: int | None,
    window: int | None,
    only: str | None,
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """A detector over stored trajectories, one stream per subject: alarms, run length, delay.

    Each alarm is closed at once and the test begins anew, so that the run length is measured.
    Without --onset every alarm counts as false.
    """
    from detectors.evaluate import Run, report
    from telltale import references
    from telltale.backtesting import Backtested, marginal, sequential, streams, usual_shares
    from telltale.client import opened
    from telltale.config import load
    from telltale.pipeline import subject_of
    from telltale.stages import rule_pack

    settings = load(config_path, data)
    tests = references.tests(settings.detection)
    labeller = rule_pack(settings)
    found: list[Backtested] = []
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]
        loaded = references.load(store, settings, reference, "*")
        usual = (
            {}
            if detector == DETECTORS[0]
            else usual_shares(store.trajectories(loaded.info.where), labeller)
        )
        for stream in streams(
            store.trajectories(where),
            loaded,
            labeller,
            subject_of(settings.subject),
            lambda: bar.advance(task),
        ):
            alarms = (
                sequential(stream, loaded, tests)
                if detector == DETECTORS[0]
                else marginal(stream, usual, detector, tests.arl)
            )
            length = len(stream.ended_ns)
            for category, numbers in zip(CATEGORY_IDS, alarms, strict=True):
                if only not in (None, category) or not (numbers or only):
                    continue
                run = Run(tuple(numbers), length, onset)
                found.append(
                    Backtested(stream.subject.label(), category, run.alarms, report([run], window))
                )
    if as_json:
        for each in found:
            print_json(
                {
                    "subject": each.subject,
                    "category": each.category,
                    "detector": detector,
                    "alarms": each.alarms,
                    "report": each.report.to_json(),
                }
            )
    else:
        print_table(
            ("subject", "category", "alarms", "first", "exposure", "false", "run length", "delay"),
            [
                (
                    each.subject,
                    each.category,
                    len(each.alarms),
                    each.alarms[0] if each.alarms else None,
                    each.report.exposure,
                    each.report.false_alarms,
                    each.report.run_length,
                    each.report.delay_mean,
                )
                for each in found
            ],
            title=f"{detector} against {reference}",
        )
    return 0
