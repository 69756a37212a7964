"""Whom and what a call acts on, as a reference keeps it: keyed digests by role, never the values.

Beside the targets that argument names and values tell (`detectors.taint.targets`), the files and
addresses of what a call executes, told from its shell text or code.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.trajectory import Call
from detectors.parsing.arguments import MARKER, Leaf, TargetKind, leaves, normalise
from detectors.parsing.arguments import targets_of as told_by_arguments
from detectors.parsing.files import operands
from detectors.parsing.names import tool_act
from detectors.rules.execution import parse_call

Digests = npt.NDArray[np.uint64]

FORMS: Final = "target_forms"
"""Of the baseline's document: the kinds of its targets, and whether they were clear or digests."""
KEY_ID: Final = "target_key"
"""Of the baseline's document: which key its targets' digests were made with."""
_LONGEST: Final = 512
_PATH: Final = re.compile(r"[/~]|\.{1,2}(?:/|$)|[a-zA-Z]:[\\/]|[\w.$-][^\s=:@]*/")
_WITHHELD: Final = re.compile(
    r"\W*(?:redacted|hidden|masked|filtered|removed|truncated)\W*|[*x•…?_.-]{3,}", re.IGNORECASE
)
"""What an SDK leaves in the place of a value, the same for all of them."""
_OPEN: Final = re.compile(r"[$`*?{}]|%\w")
"""Variables, patterns and templates: what they stood for when the call ran is not written."""


class Named(NamedTuple):
    """A target by name. `value`: normalised; equal targets have equal values."""

    kind: TargetKind
    value: str

    @property
    def form(self) -> str:
        """`digest` where redaction left one in its place, else `clear`."""
        return "digest" if MARKER.fullmatch(self.value) else "clear"

    @property
    def told(self) -> bool:
        """Whether the value says which target it is."""
        if self.form == "digest":
            return True
        return not (_WITHHELD.fullmatch(self.value) or _OPEN.search(self.value))


def acted_on(call: Call) -> tuple[Named, ...]:
    """The targets of a call, each once; () where arguments were not seen or name none."""
    found = leaves(call.arguments)
    if not found:
        return ()
    named = dict.fromkeys(Named(*target) for target in told_by_arguments(found))
    named |= dict.fromkeys(_executed(call, found))
    return tuple(named)


def _executed(call: Call, found: list[Leaf]) -> Iterator[Named]:
    names = tuple(call.arguments) if isinstance(call.arguments, dict) else ()
    act = tool_act(call.tool, call.tool_description, names).act
    parsed = parse_call(call.tool, act, found, names)
    for request in parsed.requests:
        if request.url:
            yield from _named("url", request.url)
    if not (parsed.commands or parsed.code):
        return
    for file in parsed.files:
        yield from _named("path", file.path)
    for command in parsed.commands:
        for word in (*operands(command), *(value for _, value in command.options)):
            if _PATH.match(word) and "://" not in word:
                yield from _named("path", word)


def _named(kind: TargetKind, text: str) -> Iterator[Named]:
    value = normalise(kind, text) if 0 < len(text) <= _LONGEST else ""
    if value:
        yield Named(kind, value)


def digests(texts: Sequence[str], key: bytes) -> Digests:
    """Keyed 64-bit digests, in the order given."""
    joined = b"".join(
        hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8, key=key[:64]).digest()
        for text in texts
    )
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def key_id(key: bytes) -> str:
    """16 hex digits that tell keys apart and nothing of them."""
    return hashlib.sha256(b"telltale targets\n" + key).hexdigest()[:16]


def entry(role: str, target: Named) -> str:
    """What is digested of a target."""
    return f"{role}\n{target.kind}\n{target.value}"


class KnownTargets:
    """Collects the targets of a reference while it is fitted."""

    def __init__(self) -> None:
        self._entries: set[str] = set()
        self._forms: set[tuple[str, str]] = set()

    def add(self, role: str, calls: Iterable[Call]) -> None:
        """Take in the targets of calls in a role."""
        for call in calls:
            for target in acted_on(call):
                if target.told:
                    self._entries.add(entry(role, target))
                    self._forms.add((target.kind, target.form))

    def digests(self, key: bytes) -> Digests:
        """Of all targets, ascending, each once."""
        return np.unique(digests(sorted(self._entries), key))

    def forms(self) -> list[list[str]]:
        """[kind, form] of those that were seen, sorted."""
        return [list(each) for each in sorted(self._forms)]
