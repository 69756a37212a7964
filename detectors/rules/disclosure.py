"""Sensitive content of an earlier result that a call carries to somebody nobody named.

Sensitive is a value with the shape and check digits of a person's number (US social security, IBAN
by ISO 13616, payment card by ISO/IEC 7812), one that stands behind the name of such a field, and
any long passage of a result that holds one. A target is named where the request or an earlier
result holds it, its host or, in the request, its owner's name: who writes to the user's own
contacts discloses nothing. Equal values leave equal markers, so this works through redaction as far
as values, not whole texts, were replaced.
"""

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from detectors.parsing.arguments import EMAIL, MARKER, host_of
from detectors.parsing.verbs import OUTWARD
from detectors.parsing.vocabulary import vocabulary

if TYPE_CHECKING:
    from detectors.rules.facts import Facts

_LOOK_BACK: Final = 60
"""Earlier calls whose results are searched."""
_MOST_TEXT: Final = 20_000
_MOST_VALUES: Final = 400
_MOST_TARGETS: Final = 24
_PASSAGE: Final = 8
"""Words in a row that two texts do not share by chance (n-gram overlap)."""
_MOST_WORDS: Final = 4_000
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_CARD: Final = re.compile(r"(?<![\w-])[3-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\w-])")
_IBAN: Final = re.compile(r"(?<!\w)[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?(?!\w)")
_FIELD: Final = re.compile(
    r"(?<![a-z])(?:ssn|social[ _-]?security(?:[ _-]?(?:number|no))?|(?:tax|national)[ _-]?id|iban"
    r"|(?:credit[ _-]?)?card[ _-]?(?:number|no)|cvv|passport(?:[ _-]?(?:number|no))?|diagnos[ei]s"
    r"|icd[ _-]?(?:9|10|11)?(?:[ _-]?code)?|prescriptions?|medications?|salary"
    r"|date[ _-]?of[ _-]?birth|dob|birth[ _-]?date)[\"']?\s*[:=]\s*[\"']?([^\"'\n,;{}]{6,160})"
)
_SIGNS: Final = vocabulary(
    "ssn social tax national iban card cvv passport diagnos icd prescription medication salary"
    " birth dob"
)
"""Every match of `_FIELD` holds one of these; looking for words is cheaper than for patterns."""
_LONGEST, _WORDY = 80, 7
_WORD: Final = re.compile(r"[a-z0-9@._-]{2,}")
_PUBLIC_MAIL: Final = vocabulary(
    "gmail.com googlemail.com outlook.com hotmail.com live.com yahoo.com icloud.com aol.com gmx.de"
    " gmx.net web.de proton.me protonmail.com mail.com yandex.ru mail.ru qq.com 163.com"
)
_INTERNAL: Final = (".local", ".internal", ".lan", ".localdomain", ".test", "localhost")


class Sensitive(NamedTuple):
    """Sensitive values of one text, lower case; those of numbers without spaces and hyphens."""

    values: frozenset[str]
    numbers: frozenset[str]


def _luhn(digits: str) -> bool:
    """Check digit of ISO/IEC 7812."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def _iban(text: str) -> bool:
    """Check digits of ISO 13616: the rearranged number is 1 modulo 97."""
    moved = text[4:] + text[:4]
    return 15 <= len(text) <= 34 and int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


@lru_cache(maxsize=512)
def sensitive(text: str) -> Sensitive:
    """The sensitive values of lower-case `text`, at most `_MOST_VALUES`."""
    values: set[str] = set()
    numbers: set[str] = set()
    if any(sign in text for sign in _SIGNS):
        for found in _FIELD.finditer(text):
            value = found[1].strip(" []")
            if "[[" in found[1]:
                values.update(mark[0] for mark in MARKER.finditer(found[1]))
            elif any(char.isdigit() or char == " " for char in value) or len(value) > _WORDY:
                values.add(value[:_LONGEST])
            if len(values) >= _MOST_VALUES:
                break
    for pattern, check in ((_SSN, None), (_CARD, _luhn), (_IBAN, _iban)):
        for found in pattern.finditer(text):
            bare = found[0].replace(" ", "").replace("-", "")
            if check is None or (12 < len(bare) < 35 and check(bare)):
                numbers.add(bare)
            if len(numbers) >= _MOST_VALUES:
                break
    return Sensitive(frozenset(values), frozenset(numbers))


@lru_cache(maxsize=64)
def _passages(text: str) -> frozenset[int]:
    """Hashes of the runs of `_PASSAGE` words in `text`."""
    words = _WORD.findall(text)[:_MOST_WORDS]
    runs = range(len(words) - _PASSAGE + 1)
    return frozenset(hash(tuple(words[at : at + _PASSAGE])) for at in runs)


def _content(facts: "Facts") -> str:
    """What the call carries, lower case; bounded."""
    parts: list[str] = []
    room = _MOST_TEXT
    for leaf in facts.leaves:
        if room <= 0:
            break
        parts.append(leaf.text[:room].lower())
        room -= len(leaf.text)
    return "\n".join(parts)


def _outside(facts: "Facts") -> Iterator[str]:
    """Recipients and hosts of an outward call, the user's own machine and network left out."""
    found: list[str] = []
    if facts.act in OUTWARD or facts.semantics.outward:
        found += [
            target.value for target in facts.targets if target.kind in ("recipient", "url", "host")
        ]
    found += [request.host for request in facts.parsed.requests if request.sends and request.host]
    for value in dict.fromkeys(found[:_MOST_TARGETS]):
        if MARKER.fullmatch(value) or EMAIL.fullmatch(value) or not _internal(host_of(value)):
            yield value


def _internal(host: str) -> bool:
    """Whether a host is none that can be reached from outside, or no host at all."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_INTERNAL)


def _named(facts: "Facts", target: str) -> bool:
    """Whether the request or an earlier result names `target`, its host or its owner."""
    needle, request = target.lower(), facts.origins.request
    local, _, domain = needle.rpartition("@")
    host = domain if local else host_of(needle)
    needles = [needle]
    if host and host not in _PUBLIC_MAIL:
        needles.append(host)
    texts = [request, *(before.result_text for before in facts.history)]
    if any(each in text for text in texts for each in needles):
        return True
    names = {part for part in re.split(r"[._+-]", local) if len(part) > 2}
    names.update(part for part in host.split(".")[-2:-1] if len(part) > 2)
    return not names.isdisjoint(re.findall(r"[a-z0-9]+", request))


def disclosed(facts: "Facts") -> str:
    """The target that nobody named to which the call carries sensitive content, "" if none."""
    if not facts.index or not facts.leaves:
        return ""
    strangers = [target for target in _outside(facts) if not _named(facts, target)]
    if not strangers:
        return ""
    content = _content(facts)
    bare = content.replace(" ", "").replace("-", "")
    for before in reversed(facts.history[-_LOOK_BACK:]):
        found = sensitive(before.result_text)
        if not found.values and not found.numbers:
            continue
        if any(value in content for value in found.values):
            return strangers[0]
        if any(number in bare for number in found.numbers):
            return strangers[0]
        passages = _passages(content)
        if passages and not passages.isdisjoint(_passages(before.result_text)):
            return strangers[0]
    return ""
