"""`telltale run`: the daemon."""

import json
import logging
import signal
import sys
import threading
from pathlib import Path

import click

from telltale.cli.options import config_option, data_option

PLAIN = frozenset(vars(logging.makeLogRecord({})))
"""Attributes that every log record has; the others are the event's own."""


class JsonLines(logging.Formatter):
    """One JSON object a line; control characters and line separators are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in PLAIN},
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps({"at": self.formatTime(record), **event}, default=str)


def log_to_stderr() -> None:
    """Structured log of the daemon on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for room in ("telltale", "collector", "storage", "detectors", "alerts"):
        logging.getLogger(room).setLevel(logging.INFO)


@click.command("run")
@config_option
@data_option
def command(config_path: Path | None, data: Path | None) -> int:
    """The daemon: OTLP and, where configured, Kafka in; store, verdicts, alerts, API and UI.

    Without any configuration it needs no broker and no server. SIGTERM and SIGINT end it cleanly
    within 30 s; SIGHUP takes the promoted references anew.
    """
    from telltale.app import App
    from telltale.config import load

    log_to_stderr()
    # decode and the readers of other threads share the interpreter: with the default of 5 ms every
    # released lock costs a wait of that length
    sys.setswitchinterval(0.0005)
    settings = load(config_path, data)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    signal.signal(signal.SIGINT, lambda number, frame: stopping.set())
    app = App(settings)
    try:
        app.start()
        signal.signal(signal.SIGTERM, lambda number, frame: app.stop())
        signal.signal(signal.SIGINT, lambda number, frame: app.stop())
        signal.signal(signal.SIGHUP, lambda number, frame: app.reload_references())
        if stopping.is_set():
            # asked to end while it started
            app.stop()
        click.echo(f"telltale: UI and API on {app.server.url}", err=True)
        app.wait()
    finally:
        app.close()
    if app.failed:
        click.echo(f"telltale: {app.failed}", err=True)
        return 70
    return 0
