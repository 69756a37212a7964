"""Where a call's target came from: the user's request, an earlier tool result, or nowhere.

Content that a tool returned is not the user's word. An outward act whose target first appeared in
such content is `tainted`; if the passage around it also tells the reader to do what the call does
(an imperative of the same act), it is `instructed`: the mark of indirect prompt injection (OWASP
ASI01). Works on plain text and on the markers `[[secret:...]]` that keyed redaction leaves.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import orjson

from contracts.span import Value
from contracts.trajectory import Call
from detectors.parsing.arguments import Target, leaves, targets_of

Provenance = Literal["target_from_request", "tainted_target", "unseen_target", ""]

MAX_RESULT: Final = 65_536
"""Characters of one result that are searched."""
_MIN_SPECIFIC: Final = 5
"""Shorter targets (`24`, `me`) occur everywhere by chance and prove no origin."""
_OVERRIDE: Final = 700
"""Characters around an instruction in which words of overriding count."""
_OVERRIDES: Final = re.compile(
    r"(?:ignore|disregard|forget|override|overrule)\b[^.\n]{0,40}\b(?:previous|prior|above|all"
    r"|earlier|other|your)\b"
    r"|before you (?:can|do|continue|proceed|start|begin|solve|answer)|(?:new|updated"
    r"|following) (?:system )?instructions?"
    r"|important (?:message|instruction|notice)|\b(?:language model|ai (?:assistant|agent"
    r"|model)|assistant|chatbot|llm|gpt|claude"
    r"|gemini)\b|system (?:prompt|message|note|override)|do not (?:tell|inform|mention|ask"
    r"|alert|notify) (?:the )?(?:user|anyone)"
    r"|without (?:asking|telling|informing|notifying|confirm)|\boriginal task\b|strictly adhere"
    r"|your (?:task|instructions) (?:is|are) now"
)
_SENTENCE: Final = 400
"""Characters before a target within which its sentence must begin."""
_LAST_BOUNDARY: Final = re.compile(
    r".*(?:[.!?](?=\s|$)|\n[ \t]*\n|\n[ \t]*(?:[-*][ \t]+)?[\w ]{1,30}:(?=\s)|\n[ \t]*[-*][ \t]"
    r"|<[^<>]{0,80}>|[{}\[\]])",
    re.DOTALL,
)
"""Where a sentence or a field of structured text ends. One line break alone does not: YAML
folds.
"""

_START: Final = (
    r"(?:^\s*|[,:;>\"'*]\s*|\b(?:please|kindly|must|should|to you|need(?:s)? to|have to|first|then"
    r"|now|also|and|instead|immediately|will|can you|could you|make sure to|be sure to|want you to"
    r"|following|instruction|task|todo)\b[,:]?\s+)"
)
_IMPERATIVES: Final[dict[str, str]] = {
    "send": "send|e-?mail|mail|forward|share|message|reply|write|notify|report|contact|text|invite|"
    "give|provide|tell|post|add|deliver|exfiltrate|leak|upload|transfer|create|schedule|include",
    "pay": "send|transfer|pay|wire|make|deposit|donate|move|refund|purchase|buy|change|update|set|"
    "schedule|create|withdraw|remit|top up",
    "buy": "buy|purchase|order|add|book|reserve|make|rent|get|checkout|check out|place"
    "|subscribe|pay",
    "web": "visit|go to|click|open|browse|navigate|access|download|read|post|submit|upload|fill|"
    "log ?in|sign ?in|enter|input|register|authori[sz]e|subscribe|verify|update|install|run|follow",
    "change": "change|update|set|reset|modify|edit|replace|write|create|add|append|make|rename|"
    "schedule|put|grant|give|remove|delete|increase|decrease|cancel|reschedule|refund|invite"
    "|enable|"
    "disable|assign|revoke|archive|move|log ?in|verify|use",
    "delete": "delete|remove|erase|wipe|drop|trash|purge|destroy|clear|clean|cancel|get rid",
    "run": "run|execute|install|call|launch|start|type|paste|use|curl|download|upload|send|post"
    "|submit|"
    "delete|remove|push|copy|write|add|create|set|change|export|transfer|fetch|read|print|cat"
    "|commit",
}
_ACT_IMPERATIVES: Final[dict[str, str]] = {
    "send": "send",
    "share": "send",
    "publish": "send",
    "schedule": "send",
    "pay": "pay",
    "refund": "pay",
    "trade": "pay",
    "purchase": "buy",
    "book": "buy",
    "submit": "web",
    "upload": "web",
    "read": "web",
    "download": "web",
    "interact": "web",
    "delete": "delete",
    "cancel": "delete",
    "revoke": "delete",
    "execute": "run",
    "install": "run",
}
_PATTERNS: Final = {
    name: re.compile(rf"{_START}(?:{verbs})(?=\s)", re.IGNORECASE)
    for name, verbs in _IMPERATIVES.items()
}


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
        return value[:MAX_RESULT].lower()
    if isinstance(value, bool | int | float):
        return str(value).lower()
    text = canonical(value).decode("utf-8", "replace")
    return text[:MAX_RESULT].replace("\\n", "\n").lower()


def _sentence_before(text: str, offset: int) -> str:
    """The part of the sentence or field around `offset` that stands before it."""
    start = max(0, offset - _SENTENCE)
    last = _LAST_BOUNDARY.match(text, start, offset)
    return text[last.end() if last else start : offset]


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
        pattern = _PATTERNS[_ACT_IMPERATIVES.get(act, "change")]
        for value in values:
            needle = value.strip().lower()
            if len(needle) < _MIN_SPECIFIC or (self.request and needle in self.request):
                continue
            for index in range(step):
                text = self.result(index)
                offset = text.find(needle)
                while offset >= 0:
                    if pattern.search(_sentence_before(text, offset)):
                        around = text[max(0, offset - _OVERRIDE) : offset + _OVERRIDE]
                        return Instruction(value, bool(_OVERRIDES.search(around)))
                    offset = text.find(needle, offset + len(needle))
        return None
