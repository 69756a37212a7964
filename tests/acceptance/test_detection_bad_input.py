"""What cannot be judged gets a message, `insufficient` or `blind`; never a crash or `clear`."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from safetensors.numpy import load, save

from benchmarks.scripted_agents import Agent, payloads
from detectors import artefact
from telltale.cli import BAD_INPUT, invoke

Change = Callable[[Span], None]
REFERENCE, LONG, SHORT = 600, 500, 150
"""`LONG`: enough for a verdict `clear`, were there nothing against it."""
WRONG_CLOCKS = ("backwards", "set-back", "tools-behind")
COULD_BE_CLEAR = ("same", "tools", "careful-tools", "digests", "timeless", *WRONG_CLOCKS)
USUAL = Agent("usual", "acme-8b", habit=0.25)
ARGUMENTS = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")


def same(span: Span) -> None:
    """As it was recorded."""


def backwards(span: Span) -> None:
    """A clock that runs backwards: what came first has the latest time."""
    length = span.end_time_unix_nano - span.start_time_unix_nano
    span.start_time_unix_nano = 3_600_000_000_000_000_000 - span.start_time_unix_nano
    span.end_time_unix_nano = span.start_time_unix_nano + length


def ends_before_it_starts(span: Span) -> None:
    """A clock that was set back during every call."""
    span.end_time_unix_nano = span.start_time_unix_nano - 1_000_000


def tools_behind(span: Span) -> None:
    """The tools run on a host whose clock is an hour behind the agent's."""
    if span.name.startswith("execute_tool"):
        span.start_time_unix_nano -= 3_600_000_000_000
        span.end_time_unix_nano -= 3_600_000_000_000


def timeless(span: Span) -> None:
    """No clock at all."""
    span.start_time_unix_nano = span.end_time_unix_nano = 0


def digested(span: Span) -> None:
    """Keyed digests in the place of whatever was written."""
    for attribute in span.attributes:
        if attribute.key in ARGUMENTS:
            text = attribute.value.string_value
            try:
                values = cast("dict[str, str]", json.loads(text))
            except ValueError:
                attribute.value.string_value = _digest(text)
                continue
            hidden = {key: _digest(each) for key, each in values.items()}
            attribute.value.string_value = json.dumps(hidden)


def _digest(text: str) -> str:
    return f"[[digest:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}]]"


STREAMS: dict[str, tuple[Agent, Change]] = {
    "same": (replace(USUAL, seed=2), same),
    "worse": (replace(USUAL, habit=1.0, seed=3), same),
    "tools": (replace(USUAL, shell=False, seed=4), same),
    "careful-tools": (replace(USUAL, shell=False, habit=0.0, seed=5), same),
    "absent": (replace(USUAL, arguments=False, seed=6), same),
    "worse-absent": (replace(USUAL, habit=1.0, arguments=False, seed=7), same),
    "digests": (replace(USUAL, seed=8), digested),
    "backwards": (replace(USUAL, seed=9), backwards),
    "set-back": (replace(USUAL, seed=10), ends_before_it_starts),
    "tools-behind": (replace(USUAL, seed=14), tools_behind),
    "timeless": (replace(USUAL, seed=11), timeless),
    "few": (replace(USUAL, seed=12), same),
    "idle": (replace(USUAL, cleanup=0.0, seed=13), same),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every stream as an environment, and the usual agent's baseline `usual`."""
    folder = tmp_path_factory.mktemp("bad-detection")
    sizes = dict.fromkeys(COULD_BE_CLEAR, LONG) | {"few": 5, "usual": REFERENCE}
    for name, (agent, change) in {"usual": (USUAL, same), **STREAMS}.items():
        made = replace(agent, environment=name)
        size = sizes.get(name, SHORT)
        for number, payload in enumerate(payloads(made, size)):
            request = ExportTraceServiceRequest.FromString(payload)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        change(span)
            path = folder / "otlp" / f"{name}-{number:03d}.binpb"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(request.SerializeToString())
    where = folder / "data"
    assert invoke(["replay", str(folder / "otlp"), "--data", str(where)]) == 0
    for name in ("usual", "idle", "few"):
        assert fit(where, name) == 0
    return where


def fit(data: Path, name: str, condition: str = "") -> int:
    where = condition or f"environment = '{name}'"
    return invoke(
        ["baseline", "fit", "--name", name, "--kind", "base", "--where", where, "--data", str(data)]
    )


Run = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def judge(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Verdicts of an environment against a reference, by category."""

    def run(environment: str, reference: str = "usual") -> dict[str, dict[str, Any]]:
        capsys.readouterr()
        code = invoke(
            ["judge", "--where", f"environment = '{environment}'", "--reference", reference,
             "--json", "--data", str(data)]
        )  # fmt: skip
        assert code in (0, 1, 2)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        verdicts = {line["category"]: line for line in lines if "state" in line}
        assert verdicts, environment
        return verdicts

    return run


def states(verdicts: dict[str, dict[str, Any]]) -> set[str]:
    return {str(each["state"]) for each in verdicts.values()}


def test_the_judge_can_say_clear_and_alarm_here(judge: Run) -> None:
    """Else the tests below would show nothing."""
    assert judge("same")["UA01"]["state"] == "clear"
    assert judge("worse")["UA01"]["state"] == "alarm"


def test_a_gate_lets_a_release_go_and_names_what_it_did_not_decide(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = ["gate", "--reference", "usual", "--require", "UA01", "--data", str(data)]
    capsys.readouterr()
    assert invoke([*gate, "--where", "environment = 'same'"]) == 0
    out = capsys.readouterr().out
    assert "may be released" in out
    (open_ones,) = [line for line in out.splitlines() if line.startswith("not decided")]
    assert "UA02" in open_ones
    assert "UA01" not in open_ones
    assert invoke([*gate, "--where", "environment = 'worse'"]) == 1


@pytest.mark.parametrize("name", ["tools", "careful-tools"])
def test_tools_that_the_reference_never_had_are_neither_clear_nor_an_alarm(
    name: str, judge: Run
) -> None:
    verdicts = judge(name)
    assert states(verdicts) <= {"insufficient", "blind"}
    assert "never had" in verdicts["UA01"]["reason"]


@pytest.mark.parametrize("name", ["absent", "worse-absent"])
def test_hidden_arguments_are_blind(name: str, judge: Run) -> None:
    verdicts = judge(name)
    assert states(verdicts) == {"blind"}
    assert "were not seen" in verdicts["UA01"]["reason"]


def test_digests_in_the_place_of_arguments_are_never_clear(judge: Run) -> None:
    assert states(judge("digests")) <= {"insufficient", "blind"}


def test_without_times_nothing_is_clear(judge: Run) -> None:
    verdicts = judge("timeless")
    assert states(verdicts) <= {"insufficient", "blind"}
    assert "have no time" in verdicts["UA01"]["reason"]


@pytest.mark.parametrize("name", WRONG_CLOCKS)
def test_clocks_that_run_backwards_give_neither_clear_nor_an_alarm(name: str, judge: Run) -> None:
    """What led to a call is not known then; a mirrored order must not be taken for a rise."""
    assert states(judge(name)) <= {"insufficient", "blind"}


def test_a_category_the_reference_never_saw_is_blind(judge: Run) -> None:
    verdicts = judge("worse", "idle")
    unseen = [each for each in verdicts.values() if "no opportunity" in each["reason"]]
    assert unseen
    assert {each["state"] for each in unseen} == {"blind"}


@pytest.mark.parametrize("name", ["same", "worse", "tools", "absent"])
def test_a_baseline_of_five_says_clear_of_nothing(name: str, judge: Run) -> None:
    assert states(judge(name, "few")) <= {"insufficient", "blind"}


def test_a_baseline_of_nothing_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(data, "nothing", "environment = 'nobody'") == BAD_INPUT
    assert "0 trajectories meet the condition" in capsys.readouterr().err


def test_a_reference_cannot_judge_what_it_was_fitted_on(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["judge", "--where", "true", "--reference", "usual", "--data", str(data)]
    assert invoke(command) == BAD_INPUT
    assert "cannot judge its own data" in capsys.readouterr().err


class _Touch:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def one_byte(folder: Path, other: Path) -> None:
    content = bytearray((folder / artefact.WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / artefact.WEIGHTS).write_bytes(content)


def of_another(folder: Path, other: Path) -> None:
    shutil.copy(other / artefact.WEIGHTS, folder / artefact.WEIGHTS)


def foreign(folder: Path, other: Path) -> None:
    """Everything of another baseline, consistent in itself."""
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def not_a_number(folder: Path, other: Path) -> None:
    tensors = load((folder / artefact.WEIGHTS).read_bytes())
    tensors["bias"] = np.full_like(tensors["bias"], np.nan)
    (folder / artefact.WEIGHTS).write_bytes(save(tensors))


def pickled(folder: Path, other: Path) -> None:
    (folder / artefact.WEIGHTS).write_bytes(pickle.dumps(_Touch(folder / "ran")))


def gone(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)


def empty(folder: Path, other: Path) -> None:
    (folder / artefact.MANIFEST).write_bytes(b"")


@pytest.fixture
def folders(data: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Path, Path]]:
    """The artefacts of `usual`, put back afterwards, and of `idle`."""
    found: list[Path] = []
    for name in ("usual", "idle"):
        capsys.readouterr()
        assert invoke(["baseline", "show", name, "--json", "--data", str(data)]) == 0
        found.append(data / "baselines" / Path(json.loads(capsys.readouterr().out)["path"]).name)
    usual, idle = found
    kept = data.parent / "kept"
    shutil.copytree(usual, kept)
    yield usual, idle
    shutil.rmtree(usual, ignore_errors=True)
    shutil.move(kept, usual)


@pytest.mark.parametrize(
    "spoil", [one_byte, of_another, foreign, not_a_number, pickled, gone, empty]
)
def test_an_artefact_that_is_not_the_registered_one_is_refused(
    spoil: Callable[[Path, Path], None],
    folders: tuple[Path, Path],
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(*folders)
    capsys.readouterr()
    judging = ["judge", "--where", "environment = 'same'", "--reference", "usual"]
    for command in (["baseline", "verify", "usual"], judging):
        assert invoke([*command, "--data", str(data)]) == BAD_INPUT
        message = capsys.readouterr().err
        assert message.startswith("telltale: ")
        assert "Traceback" not in message
    assert not (folders[0] / "ran").exists()
