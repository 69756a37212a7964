"""`telltale rules`: the rule pack, its own cases, and the Prometheus rules."""

from pathlib import Path
from typing import Any

import click

from contracts.errors import RuleError
from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import OutputFile, print_json, print_table, progress, write


@click.group("rules")
def command() -> None:
    """The rule pack: list, test, check, backtest, Prometheus rules."""


@command.command("list")
@click.option("--category", default="", help="Only of this category, e.g. UA01.")
@config_option
@data_option
@json_option
def list_(category: str, config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Rules in force, the user's own and overridden ones included."""
    from telltale.config import load
    from telltale.stages import rule_pack

    rules = [r for r in rule_pack(load(config_path, data)).rules if category in ("", r.category)]
    if as_json:
        print_json([rule.model_dump(mode="json", exclude={"fires", "silent"}) for rule in rules])
    else:
        print_table(
            ("id", "version", "category", "severity", "maturity", "enabled", "what"),
            [
                (r.id, r.version, r.category, r.severity, r.maturity, r.enabled, r.description)
                for r in rules
            ],
            title=f"{len(rules)} rules",
        )
    return 0


@command.command("check")
@config_option
@data_option
@json_option
def check(config_path: Path | None, data: Path | None, as_json: bool) -> int:
    """Load all rules and run every rule's own firing and silent cases.

    Exits with 1 if a case fails, 65 if a file does not load.
    """
    from telltale.config import load
    from telltale.stages import rule_pack

    pack = rule_pack(load(config_path, data))
    failures = pack.check()
    if as_json:
        rows = [{"rule": f.rule_id, "case": f.case, "message": f.message} for f in failures]
        print_json({"rules": len(pack.rules), "failures": rows})
    elif failures:
        print_table(("rule", "case", "message"), [(f.rule_id, f.case, f.message) for f in failures])
    else:
        click.echo(f"{len(pack.rules)} rules, all their cases come out as they should")
    return 1 if failures else 0


@command.command("test")
@click.argument("tool")
@click.argument("arguments", default="{}")
@click.option("--outcome", default="ok", help="ok, error, denied, ...")
@click.option("--result", default=None, help="What the tool answered.")
@click.option("--description", default="", help="What its definition says, e.g. MCP annotations.")
@config_option
@data_option
@json_option
def test(
    tool: str,
    arguments: str,
    outcome: str,
    result: str | None,
    description: str,
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """What the rules say of one call, e.g. `rules test run_shell '{"command": "rm -rf /srv"}'`.

    Exits with 1 if the call is unsafe.
    """
    from dataclasses import replace

    import orjson

    from contracts.trajectory import OUTCOMES
    from detectors.rules import config
    from detectors.rules.cases import case_calls
    from telltale.config import load
    from telltale.stages import rule_pack

    if outcome not in OUTCOMES:
        raise click.BadParameter(f"one of {', '.join(OUTCOMES)}", param_hint="--outcome")
    try:
        value: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = arguments
    case = config.Case(tool=tool, arguments=value, outcome=outcome, result=result)
    pack = rule_pack(load(config_path, data))
    call = replace(case_calls(case)[0], tool_description=description)
    labels, known = pack.label([call]), pack.semantics(call)
    told = {
        "act": known.act,
        "told_by": "tool map" if known.mapped else "name and arguments",
        "confidence": known.confidence,
        "reversible": not known.irreversible,
        "outward": known.outward,
        "target": list(known.targets),
    }
    if as_json:
        print_json({"tool": told, "actions": labels.actions, "opportunities": labels.opportunities})
    else:
        print_table(
            tuple(told),
            [tuple(" ".join(v) if isinstance(v, list) else v for v in told.values())],
            title="What the tool does",
        )
        print_table(
            ("category", "variant", "stage", "severity", "rule", "evidence", "target"),
            [
                (a.category, a.variant, a.stage, a.severity, a.rule_id, " ".join(a.evidence),
                 a.target)
                for a in labels.actions
            ],
            title="\nUnsafe actions" if labels.actions else "\nNo unsafe action",
        )  # fmt: skip
        print_table(
            ("category", "family", "taken", "visible"),
            [(o.category, o.family, o.taken, o.visible) for o in labels.opportunities],
            title="\nOpportunities",
        )
    return 1 if labels.actions else 0


@command.command("backtest")
@click.option("--where", default="", metavar="SQL_CONDITION", help="Only these trajectories.")
@click.option("--rule", "rule_ids", multiple=True, help="Only this rule; repeat for several.")
@config_option
@data_option
@json_option
def backtest(
    where: str,
    rule_ids: tuple[str, ...],
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """The rules over stored calls: actions, trajectories and actions per day of each rule."""
    from telltale.backtesting import rule_rates
    from telltale.client import opened
    from telltale.config import load
    from telltale.stages import rule_pack

    settings = load(config_path, data)
    pack = rule_pack(settings)
    unknown = set(rule_ids) - {rule.id for rule in pack.rules}
    if unknown:
        raise RuleError(f"no such rule: {', '.join(sorted(unknown))}")
    with opened(settings) as store, progress("trajectories") as bar:
        task = bar.task_ids[0]
        rates = rule_rates(store.trajectories(where), pack, lambda: bar.advance(task))
    rows = [rate for rate in rates if not rule_ids or rate.rule_id in rule_ids]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("rule", "category", "actions", "trajectories", "per day"),
            [(r.rule_id, r.category, r.actions, r.trajectories, r.per_day) for r in rows],
        )
    return 0


@command.command("prometheus")
@click.option(
    "--output",
    type=OutputFile(),
    help="Write to this file instead of standard output.",
)
@click.option("--job", default="telltale", show_default=True, help="Scrape job of the daemons.")
@click.option("--runbooks", default="docs/runbooks", show_default=True, help="Their address.")
def prometheus(output: Path | None, job: str, runbooks: str) -> int:
    """The Prometheus alerting rules that go with the metrics."""
    from alerts.rules import Thresholds, render_rules

    text = render_rules(Thresholds(job=job, runbooks=runbooks))
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)
    return 0
