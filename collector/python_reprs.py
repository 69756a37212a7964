"""Python reprs of tool calls, which some instrumentations write where a message should stand."""

import ast
import re
from collections.abc import Iterator, Mapping

from collector.values import plain
from contracts.span import Value

REPR = re.compile(
    r"\b[A-Z]\w*(?:ToolCall|ToolUse|FunctionCall|ToolRequest)\w*\(|\bToolCall\w*\(|\bFunctionCall\w*\("
)
REPR_BYTES = 65_536
"""Longest repr read: longer ones are cut by every SDK that writes them."""


def repr_calls(text: str) -> Iterator[tuple[str, Mapping[str, Value]]]:
    """(class, keywords) of each `SomethingToolCall(name='x', arguments='{}', ...)` in `text`."""
    end = 0
    for found in REPR.finditer(text):
        if found.start() < end:
            continue
        closing = _closing(text, found.end() - 1)
        if closing <= 0:
            continue
        try:
            tree = ast.parse(text[found.start() : closing], mode="eval").body
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(tree, ast.Call):
            end = closing
            yield found.group(0)[:-1], _keywords(tree, 0)


_LIST = re.compile(r"\b(?:messages|tool_calls|history)=(?=\[)")


def repr_lists(text: str) -> Iterator[Value]:
    """Each list that stands as `messages=[...]` in a repr, as far as it is a literal."""
    end = 0
    for found in _LIST.finditer(text):
        if found.start() < end:
            continue
        closing = _closing(text, found.end())
        if closing <= 0:
            continue
        try:
            value = plain(ast.literal_eval(text[found.end() : closing]))
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        end = closing
        yield value


def _keywords(tree: ast.Call, depth: int) -> dict[str, Value]:
    taken: dict[str, Value] = {}
    for keyword in tree.keywords:
        if keyword.arg is None:
            continue
        if isinstance(keyword.value, ast.Call) and depth < 2:
            taken.update(_keywords(keyword.value, depth + 1))
            continue
        try:
            taken[keyword.arg] = plain(ast.literal_eval(keyword.value))
        except (ValueError, TypeError, MemoryError, RecursionError):
            continue
    return taken


def _closing(text: str, start: int) -> int:
    """Position after the parenthesis that closes the one at `start`, 0 if there is none."""
    depth, quote, at = 0, "", start
    end = min(len(text), start + REPR_BYTES)
    while at < end:
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return 0
