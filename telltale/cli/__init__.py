"""The `telltale` command: one module per subcommand, imported only when it runs.

Exit codes: 0 done, 1 the answer is bad news, 2 the answer cannot be given (insufficient, blind), 64
usage or configuration, 65 bad input, 70 internal, 75 try again.
"""

import importlib
import importlib.metadata
import sys
import traceback

import click

from contracts.errors import (
    ConfigError,
    DataFolderInUse,
    PermanentError,
    RetryableError,
    TelltaleError,
)

DONE, BAD_NEWS, NO_ANSWER, USAGE, BAD_INPUT, INTERNAL, TRY_AGAIN = 0, 1, 2, 64, 65, 70, 75

COMMANDS: dict[str, str] = {
    "run": "The daemon: OTLP and Kafka in; store, verdicts, alerts, API and UI.",
    "demo": "The whole path on sample spans, in one process, in under a minute.",
    "replay": "OTLP payload files through the production path into the store.",
    "query": "Read-only SQL over the views.",
    "trajectory": "Show, list and search trajectories.",
    "baseline": "Fit, list, show, compare, verify, sign and promote references.",
    "judge": "The production detectors over stored trajectories, in time order.",
    "gate": "The same statistic as a release gate, with JUnit and SARIF output.",
    "explain": "Why an alert was raised, on what evidence, since when.",
    "backtest": "Any detector over any stored stream, with delays and false alarms.",
    "lineage": "Models, teachers, distillation data, audits.",
    "rules": "The rule pack: list, test, check, backtest, Prometheus rules.",
    "doctor": "What Telltale can and cannot see, per source and subject.",
    "verify": "Check the store's integrity.",
    "backup": "A consistent copy of the store.",
    "export": "The views as Parquet, a trajectory as OTLP or Markdown.",
    "forget": "Delete trajectories, with a receipt.",
    "retention": "Delete what is older than a number of days, with a receipt.",
}


class _Lazy(click.Group):
    """Imports a subcommand's module when it is asked for, so that `--help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"telltale.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(importlib.metadata.version("telltale"), prog_name="telltale")
def cli() -> None:
    """Tells, with a stated error rate, that a deployed AI agent has begun to act unsafely."""


def exit_code(error: TelltaleError) -> int:
    """The exit code by what the caller must do about `error`."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, (RetryableError, DataFolderInUse)):
        return TRY_AGAIN
    return BAD_INPUT if isinstance(error, PermanentError) else INTERNAL


def invoke(arguments: list[str]) -> int:
    """Run the command line `arguments` (without the program's name); its exit code."""
    try:
        result = cli.main(arguments, prog_name="telltale", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return BAD_INPUT if isinstance(error, click.FileError) else USAGE
    except TelltaleError as error:
        click.echo(f"telltale: {error}", err=True)
        return exit_code(error)
    except BrokenPipeError:
        # the reader of our output left (`| head`): nothing is wrong
        sys.stderr.close()
        return DONE
    except OSError as error:
        # the machine's, not a bug: a folder that may not be read, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"telltale: {where}{error.strerror or error}", err=True)
        return BAD_INPUT
    except Exception as error:
        # 1 is the interpreter's code for a traceback, and means bad news here
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        where = f"{'/'.join(place.filename.split('/')[-2:])}:{place.lineno}"
        click.echo(f"telltale: a bug, please report it: {said} ({where})", err=True)
        return INTERNAL
    return result if isinstance(result, int) else DONE


def main() -> None:
    """Entry point of the console script."""
    sys.exit(invoke(sys.argv[1:]))
