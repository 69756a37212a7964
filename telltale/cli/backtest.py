"""`telltale backtest`: a detector over stored streams."""

from pathlib import Path

import click

from contracts.errors import BaselineError, ConfigError
from contracts.labels import CATEGORY_IDS
from telltale.cli import NO_ANSWER
from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import print_json, print_table, progress

DETECTORS = ("e-detector", "e-process", "windowed-rate", "bernoulli-cusum", "ewma")
OWN = DETECTORS[:2]
MOST_SIMULATED = 100_000
"""Mean run length up to which the others are calibrated: 80 MB of simulated statistics."""


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
    Without --onset every alarm counts as false. Exits with 2 where there is nothing to tell.
    """
    from detectors.evaluate import report
    from detectors.features import TRACKS
    from telltale import references
    from telltale.backtesting import Tracks, backtests, frozen, streams
    from telltale.client import opened
    from telltale.config import load
    from telltale.pipeline import subject_of
    from telltale.stages import rule_pack

    if window is not None and onset is None:
        raise click.UsageError("--window goes with --onset")
    settings = load(config_path, data)
    labeller = rule_pack(settings)
    tests = references.tests(settings.detection)
    if detector not in OWN and tests.arl > MOST_SIMULATED:
        raise ConfigError(
            "detection.arl", f"{detector} is calibrated by simulation, up to {MOST_SIMULATED:,}"
        )
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]
        loaded = references.load(store, settings, reference, "*")
        if detector not in OWN and loaded.info.kind == "declared":
            raise BaselineError(
                f"{reference} is declared and has no trajectories to calibrate {detector} on"
            )
        found = streams(
            store.trajectories(where),
            loaded,
            labeller,
            subject_of(settings.subject),
            lambda: bar.advance(task),
        )
        longest = max((len(stream[0]) for stream in found.values()), default=0)
        if found and onset is not None and onset > longest:
            raise click.BadParameter(
                f"{onset} is past the end: the longest stream has {longest} trajectories",
                param_hint="--onset",
            )
        own: Tracks = tuple([] for _ in TRACKS)
        if found and detector not in OWN:
            own = frozen(store.trajectories(loaded.info.where), loaded, labeller)
            kept, fitted = len(own[0]), loaded.info.trajectories
            if not kept:
                raise BaselineError(f"the trajectories {reference} was fitted on are gone")
            if kept < fitted:
                click.echo(
                    f"{detector} is calibrated on the {kept} of {fitted} trajectories of"
                    f" {reference} that are still stored",
                    err=True,
                )
        results = [
            each
            for each in backtests(found, loaded, own, detector, tests, onset)
            if only in (None, each.category)
        ]
    if not results:
        why = (
            f"{reference} cannot be compared with{f' in {only}' if only else ''}"
            if found
            else "no complete trajectory meets the condition"
        )
        click.echo(why, err=True)
        return NO_ANSWER
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
