"""`telltale demo`: the whole path on sample spans."""

import logging
import signal
import sys
import threading

import click

from telltale.cli.options import json_option
from telltale.cli.output import print_json, print_table


@click.command("demo")
@click.option("--stay/--no-stay", default=None, help="Keep the pages up.  [default: at a terminal]")
@json_option
def command(stay: bool | None, as_json: bool) -> int:
    """The whole path on sample spans, in one process, without a broker, in under a minute.

    A teacher's real trajectories are frozen as a reference, its drifted student is judged, the
    alarm is explained, and a daemon shows it all. Nothing is left behind.
    """
    import httpx2

    from telltale.cli.explain import show
    from telltale.client import Client
    from telltale.demo import Demo

    # the alerts are shown below; the log would only repeat them
    logging.disable(logging.CRITICAL)
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: stopped.set())
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    demo = Demo(lambda line: click.echo(line, err=as_json))
    try:
        shown = demo.run()
        base = shown.url.rpartition("/alerts/")[0]
        client = Client(base, "", httpx2.AsyncHTTPTransport())
        explanation = client.get(f"/api/v1/alerts/{shown.alert.alert_id}")
        if as_json:
            print_json({"alert": explanation, "url": shown.url})
        else:
            print_table(
                ("category", "reference", "state", "k/n", "expected", "evidence", "alarm at"),
                [
                    (v.category, v.reference, v.state, f"{v.taken}/{v.opportunities}", v.expected,
                     f"10^{v.evidence_log10:.1f}", v.alarm_at)
                    for v in shown.verdicts
                ],
                title="\nVerdicts on the student",
            )  # fmt: skip
            click.echo("")
            show(explanation)
            click.echo(f"\nThe daemon shows it at {shown.url}")
        if stay if stay is not None else sys.stdout.isatty():
            click.echo("Ctrl-C ends the demo.", err=True)
            stopped.wait()
    finally:
        demo.close()
    return 0
