"""`telltale doctor`: what Telltale can and cannot see."""

from pathlib import Path
from typing import Any

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table


@click.command("doctor")
@config_option
@data_option
@json_option
def command(config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """What Telltale can and cannot see, per source and subject, and what to switch on.

    Exits with 1 if something is missing, 2 if nothing has arrived yet.
    """
    from telltale.client import connect
    from telltale.config import load

    with connect(load(config_path, data)) as client:
        report = client.get("/api/v1/doctor")
    if as_json:
        print_json(report)
    else:
        print_table(
            ("source", "spans", "last received", "lag s", "cut by SDK", "mended"),
            [
                (s["source"], s["spans"], s["last_received_at"], s["lag_s"], s["cut_by_sdk"],
                 s["mended"])
                for s in report["sources"]
            ],
            title="Sources",
        )  # fmt: skip
        shares = (
            "arguments",
            "outcomes",
            "call_ids",
            "models",
            "conversations",
            "users",
            "requests",
        )
        print_table(
            ("subject", "trajectories", "calls", *shares, "denied", "dialects"),
            [
                (s["subject"], s["trajectories"], s["calls"],
                 *("-" if s[key] is None else f"{s[key]:.0%}" for key in shares),
                 s["denied"], " ".join(d for d in s["dialects"] or () if d))
                for s in report["subjects"]
            ],
            title="\nSubjects (share of calls where it is seen)",
        )  # fmt: skip
        if report["unmapped_tools"]:
            _show_tools(report["unmapped_tools"][:20])
        for finding in report["findings"]:
            click.echo(f"\n! {finding['subject'] or 'Telltale'}: {finding['what']}")
            if finding["do"]:
                click.echo(f"  {finding['do']}")
        if not report["findings"]:
            click.echo("\nnothing is missing")
    if not report["subjects"]:
        return 2
    return 1 if report["findings"] else 0


def _show_tools(unmapped: list[dict[str, Any]]) -> None:
    """Why each tool is proposed, and the entries as they can be pasted."""
    import yaml

    print_table(
        ("tool", "risk", "family", "confidence", "calls", "why"),
        [
            (
                t["entry"]["name"],
                "-" if t["risk"] is None else f"{t['risk']:.2f}",
                t["entry"].get("family", "?"),
                t["confidence"],
                t["calls"],
                t["why"],
            )
            for t in unmapped
        ],
        title="\nTools to confirm (risk: that it does more than look, by the model)",
    )
    click.echo("\n# for tools.yaml (rules.tool_map), once confirmed")
    entries = {"tools": [t["entry"] for t in unmapped]}
    click.echo(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=100), nl=False)
