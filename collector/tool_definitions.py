"""The tools that a model call was offered, whatever the shape of their definitions."""

from functools import lru_cache
from typing import NamedTuple

from collector.values import decode, text_of
from contracts.span import Value


class Tool(NamedTuple):
    """A tool as a model sees it. `required`: parameters it must be given."""

    name: str
    description: str = ""
    required: tuple[str, ...] = ()


Offered = tuple[Tool, ...]
"""Tools sorted by name."""


@lru_cache(maxsize=512)
def offered_in_text(text: str) -> Offered:
    """`offered` of a JSON text, remembered: every model call of a session repeats it."""
    return offered(decode(text))


def offered(value: Value) -> Offered:
    """The tools of a definition list of any vendor's shape."""
    found: dict[str, Tool] = {}
    _collect_tools(value, found, 0)
    return tuple(sorted(found.values()))


def required(schema: Value) -> tuple[str, ...]:
    """The parameters that a JSON schema of a tool's parameters requires, () where it is none."""
    value = decode(schema)
    if not isinstance(value, dict):
        return ()
    names = value.get("required")
    if isinstance(names, list):
        # CrewAI writes the names as Python reprs, quotes and all.
        return tuple(sorted({text for name in names if (text := text_of(name))}))
    return required(value["json"]) if "json" in value else ()


_SCHEMAS = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "schema")


def _told(definition: dict[str, Value]) -> str:
    """What a definition says of its tool: MCP annotations first, then the description."""
    told, notes = definition.get("description"), definition.get("annotations")
    text = told if isinstance(told, str) else ""
    if isinstance(notes, dict):
        hints = [
            f"{key}: {str(value).lower()}"
            for key, value in sorted(notes.items())
            if key.endswith("Hint") and isinstance(value, bool)
        ]
        text = " ".join([f"[{', '.join(hints)}]", text] if hints else [text]).strip()
    return text[:500]


def _collect_tools(value: Value, found: dict[str, Tool], depth: int) -> None:
    if depth > 6 or len(found) > 500:
        return
    if isinstance(value, str):
        if value[:1] in "[{":
            inner = decode(value)
            if not isinstance(inner, str):
                _collect_tools(inner, found, depth + 1)
        elif depth and value and " " not in value and len(value) < 100:
            found.setdefault(value, Tool(value))
        return
    if isinstance(value, list):
        for item in value:
            _collect_tools(item, found, depth + 1)
        return
    if not isinstance(value, dict):
        return
    name = value.get("name")
    if isinstance(name, str) and name:
        found.setdefault(
            name,
            Tool(
                name,
                _told(value),
                next((required(value[key]) for key in _SCHEMAS if key in value), ()),
            ),
        )
        return
    for key in (
        "function",
        "tool",
        "json_schema",
        "toolSpec",
        "functionDeclarations",
        "function_declarations",
        "function_tools",
        "output_tools",
        "tools",
    ):
        inner = value.get(key)
        if isinstance(inner, dict) and "annotations" in value:
            # some put what MCP says beside the function, not into it
            inner = {"annotations": value["annotations"], **inner}
        if inner is not None:
            _collect_tools(inner, found, depth + 1)
