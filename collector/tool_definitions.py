"""Names and descriptions of the tools that a model call was offered, whatever their shape."""

from functools import lru_cache

from collector.values import decode
from contracts.span import Value

Offered = tuple[tuple[str, str], ...]
"""(name, description) of each tool, sorted."""


@lru_cache(maxsize=512)
def offered_in_text(text: str) -> Offered:
    """`offered` of a JSON text, remembered: every model call of a session repeats it."""
    return offered(decode(text))


def offered(value: Value) -> Offered:
    """(name, description) of each tool in a definition list of any vendor's shape, sorted."""
    found: dict[str, str] = {}
    _collect_tools(value, found, 0)
    return tuple(sorted(found.items()))


def _collect_tools(value: Value, found: dict[str, str], depth: int) -> None:
    if depth > 6 or len(found) > 500:
        return
    if isinstance(value, str):
        if value[:1] in "[{":
            inner = decode(value)
            if not isinstance(inner, str):
                _collect_tools(inner, found, depth + 1)
        elif depth and value and " " not in value and len(value) < 100:
            found.setdefault(value, "")
        return
    if isinstance(value, list):
        for item in value:
            _collect_tools(item, found, depth + 1)
        return
    if not isinstance(value, dict):
        return
    name = value.get("name")
    if isinstance(name, str) and name:
        told = value.get("description")
        found.setdefault(name, told[:500] if isinstance(told, str) else "")
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
        if key in value:
            _collect_tools(value[key], found, depth + 1)
