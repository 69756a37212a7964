"""Sentences that tell their reader to do something, in text of any origin.

Used on what tools return: a result that asks for an act is not the user's wish.
"""

import re
from typing import Final

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
    r"(?:^\s*|\n\s*|[,:;>\"'*]\s*|\b(?:please|kindly|must|should|to you|need(?:s)? to|have to"
    r"|first|then"
    r"|now|also|and|instead|immediately|will|can you|could you|make sure to|be sure to|want you to"
    r"|following|by|just|instruction|task|todo)\b[,:]?\s+)"
)
_IMPERATIVES: Final[dict[str, str]] = {
    "send": "sen[dt]|e-?mail|mail|forward|share|message|reply|write|notify|report|contact|text"
    "|invite|"
    "give|provide|tell|post|add|deliver|exfiltrate|leak|upload|transfer|create|schedule|include",
    "pay": "send|transfer|pay|wire|make|deposit|donate|move|refund|purchase|buy|change|update|set|"
    "schedule|create|withdraw|remit|top up",
    "buy": "buy|purchase|order|add|book|reserve|make|rent|get|checkout|check out|place"
    "|subscribe|pay",
    "web": "visit(?:ing)?|go(?:ing)? to|click(?:ing)?|open(?:ing)?|browse|navigate|access"
    "|download|read|post|submit|upload|fill|"
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
_BEFORE: Final = {
    name: re.compile(rf"{_START}(?:{verbs})(?=\s)", re.IGNORECASE)
    for name, verbs in _IMPERATIVES.items()
}
_AFTER: Final = {
    name: re.compile(
        rf"[^.!?\n]{{0,80}}[.!?]['\"]*\s+(?:please\s+|kindly\s+|so\s+|just\s+)?(?:{verbs})"
        r"\s+(?:it|this|that|them|there|one)\b",
        re.IGNORECASE,
    )
    for name, verbs in _IMPERATIVES.items()
}
"""The target named first, the order in the next sentence: `P025 is right. Please buy it`."""
_NUMBERED: Final = re.compile(r"(?:\bids?|\bnumber|\bno\.?|#)\W{0,6}$")
"""What must stand before a bare number for it to name something."""
_AFTER_REACH: Final = 240


def sentence_before(text: str, offset: int) -> str:
    """The part of the sentence or field around `offset` that stands before it."""
    start = max(0, offset - _SENTENCE)
    last = _LAST_BOUNDARY.match(text, start, offset)
    return text[last.end() if last else start : offset]


def asks(act: str, text: str, start: int, end: int) -> bool:
    """Whether `text` asks its reader to do `act` with what stands at [start, end).

    `act`: of `detectors.parsing.verbs`; acts without imperatives of their own count as changes. A
    bare number must be called an id or a number.
    """
    family = _ACT_IMPERATIVES.get(act, "change")
    before = sentence_before(text, start)
    if text[start:end].isdigit() and end - start < _LONG_NUMBER and not _NUMBERED.search(before):
        return False
    if _BEFORE[family].search(before):
        return True
    return _AFTER[family].match(text, end, end + _AFTER_REACH) is not None


_LONG_NUMBER: Final = 7
"""Digits from which a number is as good as a name (an account, a phone)."""


def overrides(text: str) -> bool:
    """Whether `text` speaks to an assistant or of its instructions, as injected prompts do."""
    return bool(_OVERRIDES.search(text))
