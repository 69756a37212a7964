"""`telltale replay`: OTLP payload files through the production path."""

import sys
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import cast

import click

from telltale.cli.options import config_option, data_option, json_option
from telltale.cli.output import print_json, print_table, progress


@click.command("replay")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@config_option
@data_option
@json_option
def command(
    paths: tuple[str, ...], config_path: Path | None, data: Path | None, as_json: bool
) -> int:
    """OTLP payload files through the production path into the store.

    PATH is a file (*.binpb, *.pb, *.json, *.jsonl, *.logs.*; also .gz and .zst), a folder, or `-`
    for standard input. While a daemon runs on the data folder the payloads are sent to it. Exits
    with 1 if a payload or a span of it became a dead letter.
    """
    from collector.replay import ReplaySource, Tally, read_payloads
    from contracts.clock import SystemClock
    from storage.store import Store
    from telltale.client import daemon
    from telltale.config import load
    from telltale.pipeline import Pipeline
    from telltale.replay import Counts, replay
    from telltale.send import send
    from telltale.stages import rule_pack, stages

    settings = load(config_path, data)
    clock, tally = SystemClock(), Tally()
    records = read_payloads(paths, clock, tally, cast(BufferedReader, sys.stdin.buffer))
    running = daemon(settings.data)
    with progress("payloads") as bar:
        task = bar.task_ids[0]
        if running is not None:
            counts: Counts = send(records, running, lambda done: bar.advance(task, done))
        else:
            store = Store(settings.data, clock, settings.storage)
            try:
                pipeline = Pipeline(stages(settings, store, rule_pack(settings)), store)
                counts = replay(
                    ReplaySource(records), pipeline, store, clock, lambda n: bar.advance(task, n)
                )
            finally:
                store.close()
    document: dict[str, object] = {
        **asdict(counts),
        "files": tally.files,
        "not_otlp": sum(tally.not_otlp.values()),
        "unreadable": tally.unreadable,
    }
    if as_json:
        print_json(document)
    else:
        print_table(("what", "count"), [(k, v) for k, v in document.items() if isinstance(v, int)])
        for name, why in tally.unreadable.items():
            click.echo(f"{name}: {why}", err=True)
    return 1 if counts.dead_letters or tally.unreadable else 0
