"""The commands: help as golden files, exit codes, JSON, and the key's name in every complaint."""

import gzip
import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pytest

from contracts import errors
from telltale import cli as commands
from telltale.cli import COMMANDS, cli, exit_code, invoke

Invoke = Callable[..., int]


def names() -> Iterator[tuple[str, ...]]:
    yield ()
    context = click.Context(cli)
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in command.commands)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = invoke([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", list(names()), ids=lambda name: " ".join(name) or "telltale")
def test_help_is_as_reviewed(
    name: tuple[str, ...], run: Run, golden: Callable[[str, str], None], monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run(*name, "--help")
    assert code == 0
    assert err == ""
    golden(f"help/{'-'.join(('telltale', *name))}.txt", out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with twenty of the demo's trajectories."""
    folder = tmp_path_factory.mktemp("cli")
    lines = gzip.decompress((files("telltale") / "samples" / "student.jsonl.gz").read_bytes())
    path = folder / "few.jsonl"
    path.write_bytes(b"\n".join(lines.splitlines()[:20]))
    assert invoke(["replay", str(path), "--data", str(folder / "data"), "--json"]) == 0
    return folder / "data"


@pytest.mark.parametrize(
    "arguments",
    [
        ("trajectory", "list"),
        ("trajectory", "search", "--tool", "*"),
        ("baseline", "list"),
        ("lineage", "show"),
        ("doctor",),
        ("verify",),
        ("rules", "list"),
        ("query", "SELECT count(*) AS n FROM calls", "--format", "json"),
    ],
    ids=lambda a: " ".join(a[:2]),
)
def test_json_is_one_document(arguments: tuple[str, ...], data: Path, run: Run) -> None:
    if arguments[0] != "query":
        arguments = (*arguments, "--json")
    if arguments[0] != "rules":
        arguments = (*arguments, "--data", str(data))
    code, out, _ = run(*arguments)
    assert code in (0, 1, 2)
    json.loads(out)


def test_a_trajectory_is_shown_and_exported(data: Path, run: Run) -> None:
    _, out, _ = run("trajectory", "list", "--limit", "1", "--json", "--data", data)
    identity = json.loads(out)[0]["trajectory_id"]
    code, out, _ = run("trajectory", "show", identity, "--json", "--data", data)
    assert code == 0
    assert json.loads(out)["trajectory"]["trajectory_id"] == identity
    code, out, _ = run("trajectory", "show", identity, "--data", data)
    assert code == 0
    assert identity in out


USAGE, BAD_INPUT, TRY_AGAIN = 64, 65, 75


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nonsense",), USAGE, "nonsense"),
        (("query",), USAGE, "SQL"),
        (("query", "SELECT 1", "--format", "xml"), USAGE, "xml"),
        (("trajectory", "show", "t-unknown"), BAD_INPUT, "no such trajectory"),
        (("query", "DROP TABLE calls"), BAD_INPUT, ""),
        (("query", "SELECT * FROM nowhere"), BAD_INPUT, "nowhere"),
        (("judge", "--where", "true", "--reference", "none"), BAD_INPUT, "none"),
        (("baseline", "show", "none"), BAD_INPUT, "none"),
        (("explain", "no-such-alert"), BAD_INPUT, "no such alert"),
        (("forget", "--where", "colour = 1", "--reason", "x", "--yes"), None, ""),
        (("replay", "/nowhere/at/all"), USAGE, "/nowhere/at/all"),
    ],
)
def test_exit_codes(
    arguments: tuple[str, ...], code: int | None, said: str, data: Path, run: Run
) -> None:
    given = arguments if arguments[0] == "nonsense" else (*arguments, "--data", str(data))
    got, _, err = run(*given)
    assert got == code or (code is None and got in (USAGE, BAD_INPUT))
    assert said in err
    assert "Traceback" not in err


def test_a_folder_without_a_store_is_named(tmp_path: Path, run: Run) -> None:
    code, _, err = run("query", "SELECT 1", "--data", tmp_path)
    assert code == USAGE
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour: red", "colour"),
        ("api: {listen: nowhere}", "api.listen"),
        ("otlp: {http: nowhere}", "otlp"),
        ("kafka: {topics: [a]}", "kafka.bootstrap_servers"),
        ("storage: {retention_days: -1}", "storage.retention_days"),
        ("a: [", "--config"),
    ],
)
@pytest.mark.parametrize("command", ["run", "doctor"])
def test_a_wrong_key_is_named(
    command: str, text: str, key: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.cli.run.log_to_stderr", lambda: None)
    path = tmp_path / "telltale.yaml"
    path.write_text(text)
    code, _, err = run(command, "--config", path)
    assert code == USAGE
    assert key in err


def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, run: Run) -> None:
    for path in (tmp_path / "none.yaml", tmp_path / "binary.yaml"):
        if path.name == "binary.yaml":
            path.write_bytes(b"\xff\xfe\x00")
        code, _, err = run("doctor", "--config", path)
        assert code == USAGE
        assert path.name in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("a.b", "wrong"), 64),
        (errors.BadPayload("empty", "x"), 65),
        (errors.RuleError("x"), 65),
        (errors.BaselineError("x"), 65),
        (errors.Busy("x"), 75),
        (errors.StoreUnavailable("x"), 75),
        (errors.DataFolderInUse("x"), 75),
        (errors.TelltaleError("x"), 70),
    ],
)
def test_what_the_caller_must_do_decides_the_code(error: errors.TelltaleError, code: int) -> None:
    assert exit_code(error) == code


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object, **__: object) -> None:
        raise BrokenPipeError

    class Quiet:
        def close(self) -> None: ...

    monkeypatch.setattr(commands.cli, "main", leave)
    monkeypatch.setattr("sys.stderr", Quiet())
    assert invoke(["rules", "list"]) == 0
