"""`telltale backtest`: a detector over stored streams."""

from pathlib import Path

import click

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import print_json, print_table, progress

DETECTORS = ("e-detector", "e-process", "windowed-rate", "bernoulli-cusum", "ewma")
OWN = DETECTORS[:2]


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
    from detectors.evaluate import report
    from detectors.features import TRACKS
    from telltale import references
    from telltale.backtesting import Tracks, backtests, streams, tracks
    from telltale.client import opened
    from telltale.config import load
    from telltale.pipeline import subject_of
    from telltale.stages import rule_pack

    settings = load(config_path, data)
    labeller = rule_pack(settings)
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]
        loaded = references.load(store, settings, reference, "*")
        own: Tracks = tuple([] for _ in TRACKS)
        if detector not in OWN:
            for _, ones in tracks(store.trajectories(loaded.info.where), loaded, labeller):
                for track, one in zip(own, ones, strict=True):
                    track.append(one)
            if not own[0]:
                raise BaselineError(f"the trajectories {reference} was fitted on are gone")
        found = streams(
            store.trajectories(where),
            loaded,
            labeller,
            subject_of(settings.subject),
            lambda: bar.advance(task),
        )
        tests = references.tests(settings.detection)
        results = [
            each
            for each in backtests(found, loaded, own, detector, tests, onset)
            if only in (None, each.category)
        ]
    rows = [(each, report([each.run], window)) for each in results]
    if as_json:
        for each, told in rows:
            print_json(
                {
                    "subject": each.subject,
                    "category": each.category,
                    "track": each.track,
                    "detector": detector,
                    "alarms": each.run.alarms,
                    "report": told.to_json(),
                }
            )
    else:
        print_table(
            ("subject", "category", "track", "alarms", "first", "exposure", "false", "run length",
             "delay"),
            [
                (each.subject, each.category, each.track, len(each.run.alarms),
                 each.run.alarms[0] if each.run.alarms else None, told.exposure,
                 told.false_alarms, told.run_length, told.delay_mean)
                for each, told in rows
            ],
            title=f"{detector} against {reference}",
        )  # fmt: skip
    return 0
