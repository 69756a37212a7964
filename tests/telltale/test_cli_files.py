"""The commands and the files of the machine: the default folder, outputs, and what may go wrong."""

import json
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from collector.replay import ReplaySource
from contracts.testing import ManualClock
from detectors.rules.pack import RulePack
from storage.store import Store
from telltale import cli as commands
from telltale.app import App
from telltale.cli import BAD_INPUT, COMMANDS, INTERNAL, USAGE, cli, invoke
from telltale.cli.output import OutputFile
from telltale.pipeline import Pipeline
from telltale.replay import replay
from telltale.stages import stages
from tests.telltale.conftest import STUDENT, free, records

DEFAULT = "telltale-data"


@pytest.fixture(scope="module")
def stored(fitted_once: Path, pack: RulePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a baseline, forty trajectories of a student, and its alert."""
    folder = tmp_path_factory.mktemp("files") / DEFAULT
    shutil.copytree(fitted_once, folder)
    clock = ManualClock()
    store = Store(folder, clock)
    try:
        pipeline = Pipeline(stages(free(folder), store, pack), store)
        worse = replace(STUDENT, habit=1.0)
        replay(ReplaySource(iter(records(worse, 40))), pipeline, store, clock)
    finally:
        store.close()
    return folder


@pytest.fixture
def here(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a copy of `stored` under the default name."""
    shutil.copytree(stored, tmp_path / DEFAULT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = ("--where", "environment = 'live'")
JUDGING = (*ALL, "--reference", "base")


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (("query", "SELECT 1 AS one, count(*) AS n FROM calls"), {0}),
        (("trajectory", "list"), {0}),
        (("trajectory", "search", "--tool", "*"), {0}),
        (("baseline", "list"), {0}),
        (("baseline", "show", "base", "--html", "base.html"), {0}),
        (("baseline", "verify", "base"), {0}),
        (("baseline", "compare", "base", "base"), {0}),
        (("baseline", "promote", "base", "--for", "live/*"), {0}),
        (("baseline", "fit", "--name", "l", "--kind", "declared", "--ceiling", "UA01=0.1"), {0}),
        (("judge", *JUDGING), {1}),
        (("gate", *JUDGING, "--junit", "gate.xml", "--sarif", "gate.sarif"), {1}),
        (("explain",), {0}),
        (("backtest", *JUDGING), {0}),
        (("lineage", "add", "m", "note", "n"), {0}),
        (("lineage", "show"), {2}),
        (("lineage", "export", "m-student"), {2}),
        (("rules", "backtest"), {0}),
        (("doctor",), {0, 1, 2}),
        (("verify",), {0}),
        (("backup", "copy.duckdb"), {0}),
        (("export", "views"), {0}),
        (("retention", "--days", "9999"), {0}),
        (("forget", *ALL, "--reason", "a test", "--yes"), {0}),
    ],
    ids=str,
)
def test_every_command_works_on_the_default_folder(
    arguments: tuple[str, ...], codes: set[int], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = invoke(list(arguments))
    assert code in codes, capsys.readouterr().err


def test_a_trajectory_of_the_default_folder_is_exported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert invoke(["query", "SELECT trajectory_id AS t FROM trajectories LIMIT 1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    for form in ("otlp", "markdown"):
        export = ["export", f"one.{form}", "--trajectory", row["t"], "--format", form]
        assert invoke(export) == 0
        assert (here / f"one.{form}").stat().st_size > 100


def test_the_daemon_answers_queries_from_the_default_folder(here: Path) -> None:
    """The API, the pages, and commands that ask the daemon or work on its copy."""
    app = App(free(Path(DEFAULT)))
    try:
        app.start()
        body = json.dumps({"sql": "SELECT count(*) AS n FROM trajectories", "format": "json"})
        asked = urllib.request.Request(
            f"{app.server.url}/api/v1/query",
            body.encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert b"40" in answer.read()
        with urllib.request.urlopen(f"{app.server.url}/trajectories", timeout=30) as answer:
            assert b"m-student" in answer.read()
        assert invoke(["query", "SELECT count(*) FROM calls"]) == 0
        assert invoke(["verify"]) == 0
    finally:
        app.close()


def outputs() -> list[tuple[str, ...]]:
    """Every option of every command that names a file to be written."""
    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        group = command.commands if isinstance(command, click.Group) else {"": command}
        for sub, each in group.items():
            for parameter in each.params:
                if isinstance(parameter.type, OutputFile) and isinstance(parameter, click.Option):
                    found.append((name, *([sub] if sub else []), parameter.opts[0]))
    return found


NEEDS = {
    "query": ("SELECT 1",),
    "gate": JUDGING,
    "baseline show": ("base",),
    "rules prometheus": (),
}


def test_the_outputs_are_these() -> None:
    assert {" ".join(each) for each in outputs()} == {
        "query --output",
        "gate --junit",
        "gate --sarif",
        "baseline show --html",
        "rules prometheus --output",
    }


@pytest.mark.parametrize("output", [*outputs(), ("backup",), ("export",)], ids=" ".join)
@pytest.mark.parametrize("place", ["/nonexistent/x", "/dev/full"])
def test_an_output_that_cannot_be_written_is_named(
    output: tuple[str, ...],
    place: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Never 1, which would read as bad news of the agent."""
    if output[0] in ("backup", "export"):
        if place == "/dev/full":
            pytest.skip("makes new files and folders only")
        place = "/proc/nonexistent/x"
        arguments: tuple[str, ...] = (output[0], place)
    else:
        arguments = (*output[:-1], *NEEDS[" ".join(output[:-1])], output[-1], place)
    capsys.readouterr()
    assert invoke(list(arguments)) == BAD_INPUT
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"telltale: {place}")


def test_a_copy_never_replaces_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "there.duckdb").write_bytes(b"mine")
    assert invoke(["backup", "there.duckdb"]) == USAGE
    assert "already exists" in capsys.readouterr().err
    assert (here / "there.duckdb").read_bytes() == b"mine"


Raise = Callable[..., None]


def raising(error: Exception) -> Raise:
    def command(*_: object, **__: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/data/keys"), BAD_INPUT, "/data/keys: Perm"),
        (OSError(28, "No space left on device"), BAD_INPUT, "No space left on device"),
        (ValueError("margin > 1 + tau\nis needed"), INTERNAL, "ValueError: margin > 1 + tau is"),
        (KeyError("x"), INTERNAL, "test_cli_files.py:"),
    ],
)
def test_what_nobody_expected_is_one_line_and_never_bad_news(
    error: Exception,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(commands.cli, "main", raising(error))
    assert invoke(["rules", "list"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_result_in_a_file_is_the_one_that_is_printed(
    form: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ["query", "SELECT count(*) AS n FROM calls", "--format", form]
    capsys.readouterr()
    assert invoke(query) == 0
    printed = capsys.readouterr().out
    assert invoke([*query, "--output", "result"]) == 0
    assert capsys.readouterr().out == ""
    assert (here / "result").read_text().strip() == printed.strip()
