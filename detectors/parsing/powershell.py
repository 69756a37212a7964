"""PowerShell and cmd.exe text to argument vectors: quotes, pipes, statements; no expressions."""

import re
from collections.abc import Iterator
from typing import Final

from detectors.parsing.command import program_name

_CMDLET: Final = re.compile(
    r"(?:^|[|;\n(])\s*(?:[A-Z][a-z]+-[A-Z][A-Za-z]+|(?i:iex|iwr|irm))(?=\s|$)", re.MULTILINE
)
_WINDOWS: Final = re.compile(
    r"(?:^|\s)[A-Za-z]:\\|^\s*(?:del|rd|rmdir|erase|format|icacls|wevtutil|reg|net|schtasks|sc"
    r"|vssadmin"
    r"|attrib|takeown|bcdedit|wmic|cipher|fsutil|wbadmin|netsh)(?:\.exe)? (?:/|\w+ /|[A-Za-z]:)",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(
    r"\s+"
    r'|"(?P<double>(?:[^"`]|`.|"")*)"'
    r"|'(?P<single>(?:[^']|'')*)'"
    r"|(?P<operator>\|\||&&|[|;\n&{}()])"
    r"""|(?P<word>(?:[^\s"'|;&{}()`]|`.)+)"""
)
_MAX_TOKENS: Final = 4_000


def looks_like_powershell(text: str) -> bool:
    """Whether `text` is a cmdlet call or a Windows command line rather than POSIX shell."""
    return bool(_CMDLET.search(text) or _WINDOWS.search(text))


def split_powershell(
    text: str,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """(argv, programs before, programs after it in its pipeline) of every command in `text`."""
    pipelines: list[list[list[str]]] = [[[]]]
    joined = False
    end = 0
    for number, match in enumerate(_TOKEN.finditer(text)):
        if number > _MAX_TOKENS:
            break
        operator = match.group("operator")
        if operator == "|":
            pipelines[-1].append([])
        elif operator is not None:
            pipelines.append([[]])
        else:
            word = match.group("double")
            if word is None:
                word = match.group("single")
            if word is None:
                word = match.group("word")
            if word is not None:
                argv = pipelines[-1][-1]
                if joined and argv and match.start() == end:
                    argv[-1] += word
                else:
                    argv.append(word)
        joined = match.group("word") is not None or match.group("double") is not None
        end = match.end()
        if "\n" in match.group(0) and operator is None and match.group(0).isspace():
            pipelines.append([[]])
    for pipeline in pipelines:
        names = [program_name(argv[0]) for argv in pipeline if argv]
        for index, argv in enumerate(part for part in pipeline if part):
            yield tuple(argv), tuple(names[:index]), tuple(names[index + 1 :])
