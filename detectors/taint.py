"""Where a call's target came from: the user's request, an earlier tool result, or nowhere.

Content that a tool returned is not the user's word. An outward act whose target first appeared in
such content is `tainted`; if the passage around it also tells the reader to do what the call does
(an imperative of the same act), it is `instructed`: the mark of indirect prompt injection (OWASP
ASI01). Works on plain text and on the markers `[[secret:...]]` that keyed redaction leaves.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import orjson

from contracts.span import Value
from contracts.trajectory import Call
from detectors.parsing.arguments import Target, leaves, targets_of
from detectors.parsing.imperatives import asks, overrides

Provenance = Literal["target_from_request", "tainted_target", "unseen_target", ""]

MAX_RESULT: Final = 65_536
"""Characters of one result that are searched."""
_MIN_SPECIFIC: Final = 5
"""Shorter targets (`24`, `me`) occur everywhere by chance and prove no origin."""
_OVERRIDE: Final = 700
"""Characters around an instruction in which words of overriding count."""


class Instruction(NamedTuple):
    """A value that a tool result told the reader to act on. `overrides`: the text around it also
    speaks of the reader's own instructions, as injected prompts do.
    """

    value: str
    overrides: bool


def targets(call: Call) -> tuple[tuple[str, str], ...]:
    """The (kind, normalised value) pairs a call acts on, by its argument names and value shapes.

    () where arguments were not seen. Kinds: `detectors.parsing.arguments.TargetKind`.
    """
    return tuple(targets_of(leaves(call.arguments)))


def canonical(value: Value) -> bytes:
    """Bytes that are equal for equal values, whatever the order of their keys."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):
        # Integers past 64 bits, lone surrogates, bytes: rare, and orjson takes none of them.
        return "\n".join(f"{leaf.name}={leaf.text}" for leaf in leaves(value)).encode(
            "utf-8", "surrogatepass"
        )


def plain(value: Value) -> str:
    """The searchable lower-case text of a result or of arguments, at most `MAX_RESULT`
    characters.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        text = value[:MAX_RESULT]
    elif isinstance(value, bool | int | float):
        return str(value).lower()
    else:
        text = canonical(value).decode("utf-8", "replace")[:MAX_RESULT]
    if "\\" in text:
        # JSON's and Python's written line breaks: a sentence that begins behind one begins a line.
        text = text.replace("\\n", "\n").replace("\\t", "\t")
    return text.lower()


class Origins:
    """Origins of text within one trajectory, asked step by step. Texts are folded only when asked.

    `of` and `instructed` look only at what stood before `step`: the request, and arguments and
    results of earlier calls.
    """

    def __init__(self, calls: Sequence[Call], request: str = "") -> None:
        self._calls = calls
        self.request = request.lower()
        self._results: dict[int, str] = {}
        self._arguments: dict[int, str] = {}

    def result(self, index: int) -> str:
        """The searchable text of the result of the call at `index`."""
        text = self._results.get(index)
        if text is None:
            text = self._results[index] = plain(self._calls[index].result)
        return text

    def _argument(self, index: int) -> str:
        text = self._arguments.get(index)
        if text is None:
            text = self._arguments[index] = plain(self._calls[index].arguments)
        return text

    def _first_result(self, step: int, needle: str) -> tuple[int, int]:
        """(index, offset) of the result before `step` in which `needle` appeared before any
        argument held it; (-1, -1) where there is none."""
        for index in range(step):
            if needle in self._argument(index):
                return -1, -1
            offset = self.result(index).find(needle)
            if offset >= 0:
                return index, offset
        return -1, -1

    def of(self, step: int, target: Target) -> Provenance:
        """Where `target` of the call at index `step` came from.

        "" where that cannot be told: too short to be specific, or no request was seen and no
        earlier result holds it (then it is most likely from the unseen request).
        """
        needle = target.value.lower()
        if self.request and needle in self.request:
            return "target_from_request"
        if len(needle) < _MIN_SPECIFIC:
            return ""
        index, _ = self._first_result(step, needle)
        if index >= 0:
            return "tainted_target"
        if not self.request:
            return ""
        if any(needle in self._argument(index) for index in range(step)):
            return ""
        return "unseen_target"

    def instructed(self, step: int, act: str, values: Iterable[str]) -> "Instruction | None":
        """The earlier result's sentence that told its reader to do `act` with one of `values`.

        `values`: the call's targets and other specific values. Values that stand in the request do
        not count: the user asked for them.
        """
        for value in values:
            needle = value.strip().lower()
            if not _telling(needle) or (self.request and needle in self.request):
                continue
            for index in range(step):
                text = self.result(index)
                offset = text.find(needle)
                while offset >= 0:
                    end = offset + len(needle)
                    if (
                        not text[offset - 1 : offset].isalnum()
                        and not text[end : end + 1].isalnum()
                        and asks(act, text, offset, end)
                    ):
                        around = text[max(0, offset - _OVERRIDE) : offset + _OVERRIDE]
                        return Instruction(value, overrides(around))
                    offset = text.find(needle, end)
        return None


def _telling(needle: str) -> bool:
    """Whether a value can be told apart in running text: long, mixed like `p025`, or a number."""
    return len(needle) >= _MIN_SPECIFIC or any(char.isdigit() for char in needle)
