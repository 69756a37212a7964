"""`telltale judge`: the production detectors over stored trajectories."""

from collections.abc import Sequence
from pathlib import Path

import click

from contracts.verdict import Verdict
from telltale.cli.explain import drift
from telltale.cli.options import config_option, data_option, json_option, where_option
from telltale.cli.output import print_json, print_table, progress


@click.command("judge")
@where_option
@click.option(
    "--reference",
    "names",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A baseline to judge against; repeat for several.",
)
@config_option
@data_option
@json_option
def command(
    where: str, names: tuple[str, ...], config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """Judge stored trajectories, in time order, against frozen references.

    With --json: one line per trajectory, then one verdict line per subject, category and reference.
    Exits with 1 if any verdict is `alarm`, else 2 if none is `clear`, else 0.
    """
    from telltale import references
    from telltale.client import opened
    from telltale.config import load
    from telltale.judging import Judged, exit_code, judge, place, told
    from telltale.pipeline import subject_of
    from telltale.stages import rule_pack

    settings = load(config_path, data)
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]

        def each(judged: Judged) -> None:
            bar.advance(task)
            if as_json:
                print_json(
                    {
                        "trajectory_id": judged.trajectory_id,
                        "n": judged.n,
                        "subject": judged.subject.label(),
                        "evidence": judged.evidence,
                    }
                )

        outcome = judge(
            store.trajectories(where),
            [references.load(store, settings, name, "*") for name in dict.fromkeys(names)],
            rule_pack(settings),
            subject_of(settings.subject),
            references.tests(settings.detection),
            each,
        )
    if as_json:
        for verdict in outcome.verdicts:
            print_json(told(verdict, outcome))
    else:
        # what no test could use is shown too: hidden, it would read as nothing done
        seen = [
            v
            for v in outcome.verdicts
            if v.opportunities or v.state == "alarm" or outcome.unjudged[place(v)]
        ]
        print_table(
            (
                "subject", "category", "reference", "state", "k/n", "unjudged", "expected",
                "evidence", "rate", "first k/n", "alarm at", "calibrated at", "onset", "needed",
                "why",
            ),
            [
                (
                    v.subject.label(),
                    v.category,
                    v.reference,
                    v.state,
                    f"{v.taken}/{v.opportunities}",
                    outcome.unjudged[place(v)],
                    v.expected,
                    f"10^{v.evidence_log10:.1f}",
                    f"{v.rate_lower:.3g}-{v.rate_upper:.3g}",
                    f"{v.first_taken}/{v.first_opportunities}" if v.first_opportunities else None,
                    v.alarm_at,
                    v.calibrated_at,
                    _since(v.onset, outcome.onsets.get(place(v))),
                    v.needed,
                    " ".join(part for part in (v.attribution, v.reason) if part),
                )
                for v in seen
            ],
            title=f"{outcome.trajectories} trajectories",
        )  # fmt: skip
        _together(outcome.verdicts)
    if not outcome.trajectories:
        click.echo("no complete trajectory meets the condition", err=True)
    return exit_code(outcome.verdicts)


def _since(onset: int | None, interval: tuple[int, int] | None) -> str | None:
    """`12 (9-15)`: the first changed trajectory and its 95 % interval."""
    if onset is None or interval is None:
        return None
    return f"{onset} ({interval[0]}-{interval[1]})"


def _together(verdicts: Sequence[Verdict]) -> None:
    """What holds of a subject and reference as a whole, and of all verdicts together."""
    from telltale.fleet import standing_out
    from telltale.judging import line

    shapes = {(v.subject.label(), v.reference): v for v in verdicts if v.drift_log10 is not None}
    if shapes:
        print_table(
            ("subject", "reference", "drift of shape"),
            [(*key, drift(line(verdict))) for key, verdict in shapes.items()],
        )
    found = standing_out(verdicts)
    for v in found.stands_out:
        click.echo(
            f"stands out of {found.tested} (false discovery rate {found.alpha}):"
            f" {v.subject.label()} {v.category} against {v.reference}, e-value"
            f" 10^{v.e_value_log10:.1f}"
        )
