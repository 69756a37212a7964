"""Text for people's pagers: short, plain, and without a way to act on the reader's tools."""

import unicodedata

MAX_LENGTH = 300
"""Characters of a line; a pager cuts soon after."""

_MARKUP = str.maketrans({"<": "(", ">": ")", "{": "(", "}": ")", "`": "'", "@": "(at)", "|": "/"})
"""Chat tools turn these into links, mentions, templates and code."""


def plain(text: str, limit: int = MAX_LENGTH) -> str:
    """One line without control, bidirectional or invisible characters and without chat markup."""
    kept = "".join(
        " " if unicodedata.category(char)[0] in "CZ" else char for char in text[: limit * 4]
    )
    line = " ".join(kept.translate(_MARKUP).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
