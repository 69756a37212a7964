"""What the shell makes of quotes and escapes."""

import re
from typing import Final

from tree_sitter import Node

_QUOTED_ESCAPE: Final = re.compile(r'\\(["$`\\\n])')
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "a": "\a", "b": "\b"}


_FOREIGN: Final = re.compile(r"[^\x00-\x7f]")
_MASK: Final = re.compile(r":u([0-9a-f]{6}):")
_LAST_ASCII: Final = 0x7F
_SURROGATES: Final = range(0xD800, 0xE000)


def masked(text: str) -> bytes:
    """ASCII for the parser, every other character as `:u0000e9:`; `plain` takes it back.

    tree-sitter-bash hands characters to C's `isalnum` and its like, which read outside their tables
    for those beyond a byte: `{` before U+107965 ended the process.
    """
    return _FOREIGN.sub(_mask, text).encode("ascii")


def _mask(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f":u{0xFFFD if code in _SURROGATES else code:06x}:"


def plain(source: bytes) -> str:
    """What `masked` was given; half a surrogate pair is U+FFFD."""
    text = source.decode("ascii", "replace")
    return _MASK.sub(_unmask, text) if ":u" in text else text


def _unmask(found: re.Match[str]) -> str:
    code = int(found.group(1), 16)
    foreign = _LAST_ASCII < code <= 0x10FFFF and code not in _SURROGATES
    return chr(code) if foreign else found.group()


def node_text(node: Node) -> str:
    """The source text of a node of a tree over `masked` text."""
    return plain(node.text or b"")


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
