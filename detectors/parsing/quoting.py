"""What the shell makes of quotes and escapes."""

import re
from typing import Final

from tree_sitter import Node

_QUOTED_ESCAPE: Final = re.compile(r'\\(["$`\\\n])')
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "a": "\a", "b": "\b"}


def node_text(node: Node) -> str:
    """The source text of a node."""
    return (node.text or b"").decode("utf-8", "replace")


def unslash(text: str) -> str:
    """A bare word with its backslashes taken off; an escaped line break is nothing."""
    out: list[str] = []
    index = 0
    while index < len(text):
        if text[index] == "\\" and index + 1 < len(text):
            index += 1
            if text[index] == "\n":
                index += 1
                continue
        out.append(text[index])
        index += 1
    return "".join(out)


def unslash_quoted(text: str) -> str:
    """Text within double quotes: a backslash escapes only itself, quote, dollar, backtick,
    newline.
    """
    return _QUOTED_ESCAPE.sub(lambda found: found.group(1).strip("\n"), text)


def unescape(text: str) -> str:
    """ANSI-C escapes, hexadecimal and octal ones included."""
    out: list[str] = []
    index = 0
    while index < len(text):
        char = text[index]
        if char != "\\" or index + 1 >= len(text):
            out.append(char)
            index += 1
            continue
        kind = text[index + 1]
        digits = text[index + 2 : index + 4]
        if kind == "x" and digits and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            out.append(chr(int(digits, 16)))
            index += 2 + len(digits)
            continue
        octal = text[index + 1 : index + 4]
        if len(octal) == 3 and all(digit in "01234567" for digit in octal):
            out.append(chr(int(octal, 8)))
            index += 4
            continue
        out.append(_ESCAPES.get(kind, kind))
        index += 2
    return "".join(out)
