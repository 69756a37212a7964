"""What tools do: verb-object analysis, corrected by the operator's `tools.yaml`.

```yaml
tools:
  - name: "acme_*"            # glob on the tool's name
    family: send              # an act or family; decides before the name does
    target: [mailbox]         # arguments that hold the target
    reversible: false
  - annotation: {destructiveHint: true}      # MCP tool annotations in the tool's description
    family: delete
```
"""

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import yaml

from contracts.errors import ConfigError
from detectors.parsing.names import tool_act
from detectors.parsing.verbs import IDLE, IRREVERSIBLE, MONEY, MUTATES, OUTWARD, READS

_FAMILY_ACTS: Final[dict[str, str]] = {
    "financial": "pay",
    "money": "pay",
    "cleanup": "delete",
    "permission": "grant",
    "mutate": "update",
    "write": "update",
    "query": "search",
    "communicate": "send",
    "escalation": "escalate",
    "admin": "configure",
}
_ACTS: Final = (
    READS
    | IDLE
    | MUTATES
    | {"ask", "escalate", "execute", "authenticate", "interact", "delegate", "approve"}
)
_HINTS: Final = ("destructiveHint", "readOnlyHint", "openWorldHint", "idempotentHint")
_HINT: Final = re.compile(r"[\"']?(\w+Hint)[\"']?\s*[:=]\s*(true|false)", re.IGNORECASE)
_MAX_MEMO: Final = 20_000
"""Distinct (tool, description, argument names) remembered; past it the memory starts anew."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """One line of the tool map. `name`: glob; `annotations`: hints that must be as given."""

    name: str = "*"
    annotations: Mapping[str, bool] = field(default_factory=dict[str, bool])
    act: str = ""
    targets: tuple[str, ...] = ()
    reversible: bool | None = None
    open_world: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Semantics:
    """What a tool does; one object per distinct answer of a `ToolMap`, compared by identity.

    `act`: of `detectors.parsing.verbs`. `targets`: arguments said to hold the
    target, () where the map does not say. `mapped`: the operator's map decided.
    """

    act: str
    verb: str
    objects: tuple[str, ...]
    confidence: float
    irreversible: bool
    outward: bool
    targets: tuple[str, ...] = ()
    mapped: bool = False


def hints(description: str) -> dict[str, bool]:
    """MCP annotations found in a tool's description or annotation text."""
    if "Hint" not in description:
        return {}
    return {name: value.lower() == "true" for name, value in _HINT.findall(description)}


def _entry(number: int, raw: object) -> ToolEntry:
    where = f"tools[{number}]"
    if not isinstance(raw, dict):
        raise ConfigError(where, "must be a mapping")
    given = cast("dict[str, object]", raw)
    unknown = set(given) - {"name", "annotation", "family", "target", "reversible", "open_world"}
    if unknown:
        raise ConfigError(f"{where}.{sorted(unknown)[0]}", "unknown key")
    family = str(given.get("family", ""))
    act = _FAMILY_ACTS.get(family, family)
    if act and act not in _ACTS:
        raise ConfigError(f"{where}.family", f"unknown family {family!r}; one of {sorted(_ACTS)}")
    annotation = given.get("annotation", {})
    if not isinstance(annotation, dict) or set(cast("dict[str, object]", annotation)) - set(_HINTS):
        raise ConfigError(
            f"{where}.annotation", f"must map hints, of {list(_HINTS)}, to true or false"
        )
    if "name" not in given and not annotation:
        raise ConfigError(where, "needs a name or an annotation")
    target = given.get("target", [])
    names = [target] if isinstance(target, str) else target
    if not isinstance(names, list):
        raise ConfigError(f"{where}.target", "must be an argument name or a list of them")
    for key in ("reversible", "open_world"):
        if key in given and not isinstance(given[key], bool):
            raise ConfigError(f"{where}.{key}", "must be true or false")
    return ToolEntry(
        name=str(given.get("name", "*")),
        annotations={
            key: bool(value) for key, value in cast("dict[str, object]", annotation).items()
        },
        act=act,
        targets=tuple(str(name).lower() for name in cast("list[object]", names)),
        reversible=cast("bool | None", given.get("reversible")),
        open_world=cast("bool | None", given.get("open_world")),
    )


class ToolMap:
    """Answers what a tool does. Deterministic; remembers answers, which changes none of them."""

    def __init__(self, entries: Sequence[ToolEntry] = ()) -> None:
        self.entries = tuple(entries)
        self._matchers = [re.compile(fnmatch.translate(entry.name), re.I) for entry in entries]
        self._memo: dict[tuple[str, str, tuple[str, ...], str], Semantics] = {}

    @classmethod
    def load(cls, path: Path) -> "ToolMap":
        """The map of a `tools.yaml`. Raises `ConfigError` with the key at fault."""
        try:
            raw: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError("rules.tool_map", f"{path.name}: {error}") from error
        if raw is None:
            return cls()
        entries = cast("dict[str, object]", raw).get("tools") if isinstance(raw, dict) else None
        if not isinstance(entries, list) or set(cast("dict[str, object]", raw)) != {"tools"}:
            raise ConfigError("rules.tool_map", f"{path.name}: must hold one list, `tools`")
        return cls(
            [_entry(number, item) for number, item in enumerate(cast("list[object]", entries))]
        )

    def semantics(
        self, tool: str, description: str = "", arguments: Collection[str] = (), said: str = ""
    ) -> Semantics:
        """What `tool` does. `said`: the verb its arguments name, see `detectors.parsing.names`."""
        key = (tool, description, tuple(arguments), said)
        known = self._memo.get(key)
        if known is None:
            if len(self._memo) >= _MAX_MEMO:
                self._memo.clear()
            known = self._memo[key] = self._analyse(tool, description, arguments, said)
        return known

    def _analyse(
        self, tool: str, description: str, arguments: Collection[str], said: str
    ) -> Semantics:
        guess = tool_act(tool, description, arguments, said)
        noted = hints(description)
        act, confidence = guess.act, guess.confidence
        if act == "none" and noted.get("readOnlyHint"):
            act, confidence = "read", 0.7
        elif act in ("none", "update") and noted.get("destructiveHint"):
            act, confidence = "delete", 0.7
        outward = act in OUTWARD or bool(noted.get("openWorldHint") and act in MUTATES)
        irreversible = act in IRREVERSIBLE or act in MONEY or bool(noted.get("destructiveHint"))
        for entry, matcher in zip(self.entries, self._matchers, strict=True):
            if not matcher.match(tool) or any(
                noted.get(name) is not value for name, value in entry.annotations.items()
            ):
                continue
            mapped = entry.act or act
            return Semantics(
                act=mapped,
                verb=guess.verb,
                objects=guess.objects,
                confidence=1.0 if entry.act else confidence,
                irreversible=not entry.reversible
                if entry.reversible is not None
                else mapped in IRREVERSIBLE or mapped in MONEY or irreversible,
                outward=entry.open_world if entry.open_world is not None else mapped in OUTWARD,
                targets=entry.targets,
                mapped=bool(entry.act),
            )
        return Semantics(act, guess.verb, guess.objects, confidence, irreversible, outward)
