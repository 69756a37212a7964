"""Reads rule folders: YAML files in name order, later folders over earlier ones."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import yaml
from pydantic import ValidationError

from contracts.errors import RuleError
from detectors.rules import config

PACK_FOLDER: Final = Path(__file__).parent / "data"
_MAX_FILE: Final = 2_000_000
_ENDINGS: Final = (".yaml", ".yml")


@dataclass(slots=True)
class Loaded:
    """What rule folders hold, by id."""

    rules: dict[str, config.Rule] = field(default_factory=dict[str, config.Rule])
    opportunities: dict[str, config.OpportunityRule] = field(
        default_factory=dict[str, config.OpportunityRule]
    )
    sets: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    files: dict[str, str] = field(default_factory=dict[str, str])


@contextmanager
def rule_error(where: str) -> Generator[None]:
    """Puts `where` before the message of a `RuleError`."""
    try:
        yield
    except RuleError as error:
        raise RuleError(f"{where}: {error}") from error


def read_folders(folders: Sequence[Path]) -> Loaded:
    """Everything in `folders`. Raises `RuleError` with file, rule and key.

    An id twice in one folder is an error; in a later folder it replaces the earlier one.
    """
    loaded = Loaded()
    for folder in folders:
        if not folder.is_dir():
            raise RuleError(f"{folder}: no such rule folder")
        seen: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix in _ENDINGS:
                _read(path, loaded, seen)
    return loaded


def _read(path: Path, loaded: Loaded, seen: dict[str, str]) -> None:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise RuleError(f"{path.name}: larger than {_MAX_FILE} bytes")
        raw: object = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RuleError(f"{path.name}: {error}") from error
    if raw is None:
        return
    try:
        file = config.PackFile.model_validate(raw)
    except ValidationError as error:
        raise RuleError(_explain(path.name, raw, error)) from error
    loaded.sets.update(file.sets)
    for rule in file.rules:
        _once(path.name, rule.id, seen)
        loaded.rules[rule.id] = rule
        loaded.files[rule.id] = path.name
    for opportunity in file.opportunities:
        _once(path.name, opportunity.id, seen)
        loaded.opportunities[opportunity.id] = opportunity
        loaded.files[opportunity.id] = path.name


def _loader() -> type[yaml.SafeLoader]:
    """libyaml's loader where it was built in; a pack of a few hundred kB else takes seconds."""
    return cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _once(file: str, name: str, seen: dict[str, str]) -> None:
    if name in seen:
        raise RuleError(f"{file}: {name}: id already used in {seen[name]}")
    seen[name] = file


def _explain(file: str, raw: object, error: ValidationError) -> str:
    """The first fault as `file: rule id: key: what`."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = list(first["loc"])
    name = ""
    if len(place) >= 2 and isinstance(raw, dict) and isinstance(place[1], int):
        entries = cast("dict[str, object]", raw).get(str(place[0]))
        entry = cast("list[object]", entries)[place[1]] if isinstance(entries, list) else None
        given = cast("dict[str, object]", entry).get("id") if isinstance(entry, dict) else None
        name = str(given) if given else f"{place[0]}[{place[1]}]"
        place = place[2:]
    key = ".".join(str(part) for part in place)
    return ": ".join(part for part in (file, name, key, first["msg"]) if part)
