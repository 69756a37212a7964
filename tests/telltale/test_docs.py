"""Everything that users can name stands in the documents."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from alerts.metrics import DEFINITIONS
from contracts import errors
from detectors.rules.pack import RulePack
from detectors.toolmap import ToolMap
from telltale.api.application import create_app
from telltale.api.testing import sample_fleet
from telltale.cli import COMMANDS, cli
from telltale.config import Settings

DOCS = Path(__file__).parents[2] / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if section is None:
            yield f"{prefix}{name}"
        else:
            yield from keys(section, f"{prefix}{name}.")


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None, name
        yield name, command
        if isinstance(command, click.Group):
            for sub, each in command.commands.items():
                yield f"{name} {sub}", each


@pytest.mark.parametrize("key", list(keys(Settings)))
def test_every_setting_is_documented(key: str) -> None:
    document = text("configuration.md")
    last = key.rpartition(".")[2]
    assert f"`{key}`" in document or (key.startswith("otlp.limits.") and f"`{last}`" in document)


def test_every_command_and_option_has_help_and_stands_in_the_documents() -> None:
    document = text("commands.md")
    for name, command in commands():
        assert command.help, name
        assert f"`{name}`" in document, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "help":
                assert parameter.help, f"{name} {parameter.opts}"


def test_every_metric_is_documented() -> None:
    document = text("metrics.md")
    for definition in DEFINITIONS:
        assert f"telltale_{definition.name}" in document, definition.name


def test_every_route_is_documented() -> None:
    document = text("api.md")
    for path in create_app(sample_fleet()).openapi()["paths"]:
        assert path in document, path


def test_every_error_is_documented() -> None:
    document = text("errors.md")
    for name in re.findall(r"^class (\w+)", Path(errors.__file__).read_text(), re.MULTILINE):
        assert f"`{name}`" in document, name


def test_the_examples_of_rules_and_tool_map_work(tmp_path: Path) -> None:
    rules, tools = re.findall(r"```yaml\n(.*?)```", text("rules.md"), re.DOTALL)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "acme.yaml").write_text(rules)
    (tmp_path / "tools.yaml").write_text(tools)
    tool_map = ToolMap.load(tmp_path / "tools.yaml")
    pack = RulePack.load([tmp_path / "rules"], tool_map)
    assert "acme-wipe-tenant" in {rule.id for rule in pack.rules}
    assert pack.check() == []
    assert tool_map.semantics("acme_7", "", ()).act == "send"
