"""`telltale explain`: why an alert was raised."""

from pathlib import Path
from typing import Any

import click

from contracts.trajectory import Subject
from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table


@click.command("explain")
@click.argument("alert_id", required=False)
@config_option
@data_option
@json_option
def command(
    alert_id: str | None, config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """Why an alert was raised: what it broke, k of n against expected, since when, by which calls.

    ALERT_ID may be the start of an id; without it the newest alert is explained.
    """
    from telltale.client import connect
    from telltale.config import load

    with connect(load(config_path, data)) as client:
        if alert_id is None:
            newest = client.get("/api/v1/alerts", {"limit": 1})
            if not newest:
                click.echo("there are no alerts", err=True)
                return 2
            alert_id = str(newest[0]["alert_id"])
        explanation = client.get(f"/api/v1/alerts/{alert_id}")
    if as_json:
        print_json(explanation)
    else:
        show(explanation)
    return 0


def _between(interval: list[int] | None) -> str:
    return f" ({interval[0]} to {interval[1]}, 95 %)" if interval else ""


MOST_LOG10 = 100
"""Beyond it a number says no more than that there is no doubt."""
MOST_TARGETS = 3
"""New targets of a call that a table names; `--json` has all."""
IMPOSSIBLE = "impossible under a ceiling of 0"


def _power(log10: float) -> str:
    return f"10^{log10:.1f}" if log10 <= MOST_LOG10 else f"over 10^{MOST_LOG10}"


def _evidence(verdict: dict[str, Any], explanation: dict[str, Any]) -> str:
    if explanation["ceiling"] == 0 and verdict["taken"]:
        return IMPOSSIBLE
    told = _power(verdict["evidence_log10"])
    threshold = explanation["threshold_log10"]
    return told if threshold is None else f"{told}, pages at 10^{threshold:.1f}"


def _first(verdict: dict[str, Any]) -> str:
    if not verdict["first_opportunities"]:
        return "none seen"
    return (
        f"{verdict['first_taken']} of {verdict['first_opportunities']}, rate"
        f" {verdict['first_lower']:.3g} to {verdict['first_upper']:.3g} (95 %), e-value"
        f" {_power(verdict['first_log10'])}"
    )


def _calibrated(verdict: dict[str, Any], explanation: dict[str, Any]) -> str:
    threshold = explanation["calibrated_threshold_log10"]
    if threshold is None:
        return "none was measured"
    since = verdict["calibrated_at"]
    past = f"past since trajectory {since}" if since else "not passed"
    return f"10^{threshold:.1f}, {past}"


def drift(verdict: dict[str, Any]) -> str:
    """Whether the shape of behaviour differs, as a verdict of the API or of `judge --json` says."""
    if verdict["drift_log10"] is None:
        return "the reference keeps no trajectories to compare with"
    told = f"since trajectory {verdict['drift_at']}" if verdict["drift_at"] else "none shown"
    rest = f"{verdict['drift_left']} left" if verdict["drift_left"] else "none left: at its end"
    return (
        f"{told}; e-value 10^{verdict['drift_log10']:.1f} in {verdict['drift_pairs']} comparisons,"
        f" {rest}"
    )


def _factor(contribution: dict[str, Any]) -> str:
    """What a call multiplied the evidence by."""
    if contribution["log10_factor"] is None:
        return "not tested"
    if contribution["hazard"] == 0:
        return IMPOSSIBLE
    return f"x {_power(contribution['log10_factor'])}"


def _target(contribution: dict[str, Any]) -> str:
    """Whether the call's target was acted on in the reference."""
    if contribution["target"] != "new":
        return str(contribution["target"])
    new = contribution["new_targets"]
    more = f" and {len(new) - MOST_TARGETS} more" if len(new) > MOST_TARGETS else ""
    return f"new target: {', '.join(new[:MOST_TARGETS])}{more}"


def targets(counts: dict[str, int]) -> str:
    """How many contributing calls act on new targets, as one line."""
    unknown = f"; of {counts['unknown']} it cannot be told" if counts["unknown"] else ""
    return (
        f"{counts['new']} of {sum(counts.values())} contributing calls act on targets that the"
        f" reference never had in that role{unknown}"
    )


def show(explanation: dict[str, Any]) -> None:
    """The explanation as text on standard output."""
    alert, verdict = explanation["alert"], explanation["verdict"]
    reference = explanation["reference"]
    click.echo(f"{alert['severity'].upper()}  {alert['summary']}")
    rows: list[tuple[str, object]] = [
        ("alert", alert["alert_id"]),
        ("raised", alert["raised_at"]),
        ("subject", Subject(**alert["subject"]).label()),
        ("category", alert["category"]),
        ("reference", alert["reference"]),
    ]
    if reference:
        rows.append(("reference is", f"{reference['kind']}, fitted on {reference['where']}"))
    if verdict:
        rows += [
            ("taken", f"{verdict['taken']} of {verdict['opportunities']} opportunities"),
            ("expected", f"at most {verdict['expected']:.1f} by the reference"),
            ("rate", f"{verdict['rate_lower']:.3g} to {verdict['rate_upper']:.3g} (95 %)"),
            ("evidence", _evidence(verdict, explanation)),
            ("alarmed at", f"trajectory {verdict['alarm_at']}"),
            ("onset", f"trajectory {verdict['onset']}{_between(explanation['onset_interval'])}"),
            ("onset at", explanation["onset_at"]),
            ("attribution", verdict["attribution"] or "cannot be told"),
            ("first actions", _first(verdict)),
            ("e-value", f"{_power(verdict['e_value_log10'])} since the first trajectory"),
            ("calibrated threshold", _calibrated(verdict, explanation)),
            ("drift of shape", drift(verdict)),
        ]
        if verdict["needed"]:
            rows.append(("needed", f"{verdict['needed']} more opportunities to be sure"))
    print_table(("", ""), rows)
    if explanation["contributions"]:
        print_table(
            ("trajectory", "step", "tool", "what", "stage", "target", "reference's hazard",
             "evidence"),
            [
                (c["trajectory_id"], c["step"], c["tool"], c["variant"], c["stage"], _target(c),
                 c["hazard"], _factor(c))
                for c in explanation["contributions"]
            ],
            title="\nStrongest calls",
        )  # fmt: skip
        click.echo(targets(explanation["targets"]))
    if explanation["trajectories"]:
        print_table(
            ("trajectory", "started", "calls", "errors", "denied", "categories"),
            [
                (t["trajectory_id"], t["started_at"], t["calls"], t["errors"], t["denied"],
                 " ".join(t["categories"]))
                for t in explanation["trajectories"]
            ],
            title="\nTrajectories to read (telltale trajectory show ID)",
        )  # fmt: skip
    if explanation["changes"]:
        print_table(
            ("what", "before", "after", "at"),
            [(c["what"], c["before"], c["after"], c["at"]) for c in explanation["changes"]],
            title="\nChanged around the onset",
        )
    if explanation["lineage"]:
        print_table(
            ("relation", "value", "digest"),
            [(e["relation"], e["value"], e["digest"][:12]) for e in explanation["lineage"]],
            title="\nLineage of the model",
        )
