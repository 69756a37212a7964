"""Secrets that only the word before them tells: `password=...`, `"api_key": "..."`, `--token ...`.

A value without a telling word stays, however random it looks: ids, hashes and images are what rules
and tests compare.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from collector.redact_rules import spelt_out

Family = Literal["password", "token"]

PASSWORDS = ("password", "passwd", "passphrase", "passcode", "pwd")
TOKENS = (
    "secret",
    "token",
    "credential",
    "authorization",
    *(
        f"{word}{gap}key"
        for word in (
            "api",
            "access",
            "account",
            "private",
            "auth",
            "encryption",
            "signing",
            "master",
            "session",
            "license",
            "shared",
            "storage",
            "subscription",
        )
        for gap in ("", "_", "-", " ")
    ),
)
_ANY = r"""[^\s"'`\\,;&<>|=\x00]"""
_OF_TOKEN = r"""[^\s"'`\\,;&<>|=\x00({\[]"""
_NO_DIGIT = r"""[^\s"'`\\,;&<>|=\x00({\[0-9]"""
_FIRST = r"""[^\s"'`\\,;&<>|=\x00({]"""
_TOKEN_VALUE = "|".join(
    # 8 characters with a digit among them, or a digit after up to 15 others, or 16 without: what
    # `is_secret` would refuse anyway is not worth the way there. The rest is read by `value_of`.
    [f"{_NO_DIGIT}{{{n}}}[0-9]{_OF_TOKEN}{{{7 - n}}}" for n in range(7)]
    + [f"{_NO_DIGIT}{{7,15}}[0-9]", f"{_NO_DIGIT}{{16}}"]
)
_CLOSING = r"""(?:[\])]|%5D)?(?:\\*["'`])?"""
_TIGHT = "(?P<tight>[=>])"
_LOOSE = r"(?:[ \t]*(?::=|=>|==|=|:|\\u003[ad])[ \t]*|[ \t](?:is|was)[ \t])"
_OPENING = r"""(?P<opening>\\*["'`])"""
_PHRASE = r"""[^"'`\x00\n]{4}"""
_SPECIAL = r"[0-9!@#$%^&*+?]"


@dataclass(frozen=True, slots=True)
class KeywordRule:
    """`pattern`: RE2, with the groups `keyword`, `rest` of its word, `quoted` or `bare` where the
    value begins, `opening` where a quote opens it, and `tight` for separators that leave no doubt.
    """

    family: Family
    pattern: str


class KeywordMatch(NamedTuple):
    """Where the groups of a match stand: `keyword`, `value` by their first byte, `rest` and
    `opening` whole.
    """

    keyword: int
    rest: tuple[int, int]
    tight: bool
    opening: tuple[int, int] | None
    value: int


def _rule(family: Family, lead: str, separator: str, quoted: str, bare: str) -> KeywordRule:
    words = PASSWORDS if family == "password" else TOKENS
    keyword = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return KeywordRule(
        family,
        rf"(?i){lead}(?P<keyword>{keyword})(?P<rest>[\w\-]*){separator}"
        rf"(?:{_OPENING}(?P<quoted>{quoted})|(?P<bare>{bare}))",
    )


_OPTION, _SPACE = r"--[\w\-]*", r"(?P<tight>[ \t])[ \t]*"
KEYWORD_RULES: tuple[KeywordRule, ...] = (
    _rule("password", "", _CLOSING + _TIGHT, _PHRASE, f"{_FIRST}{_ANY}{{3}}"),
    _rule("password", "", _CLOSING + _LOOSE, _PHRASE, f"{_ANY}*{_SPECIAL}"),
    _rule("password", _OPTION, _SPACE, _PHRASE, f"{_FIRST}{_ANY}{{3}}"),
    _rule("token", "", f"{_CLOSING}(?:{_TIGHT}|{_LOOSE})", _TOKEN_VALUE, _TOKEN_VALUE),
    _rule("token", _OPTION, _SPACE, _TOKEN_VALUE, _TOKEN_VALUE),
)

_BARE = re.compile(rb"[^\s\"'`\\,;&<>|\0]{1,1024}")
_QUOTED_MOST = 1024
_HARMLESS = re.compile(
    rb"(?:(?:^s?|[_-]|(?<=[a-z])(?=[A-Z]))(?:(?i:name|id|ids|type|kind|counts?|path|files?|folder|dir|"
    rb"ur[il]s?|arn|refs?|version|length|len|size|limit|budget|usage|used|expir\w*|ttl|policy|"
    rb"label|ring|manager|cost|price|rate|index|offset|stores?|scopes?|endpoint|provider|mount|class|"
    rb"prefix|suffix|format|algorithm|alg|rotation|required|enabled|exists|valid|status|error|mask|"
    rb"pattern|regex|hint|per_\w+|position|ratio))|^(?i:i[sz]\w*|ar(?:y|iat|ies)|less|protected|ed|ly))$"
)
_PLURAL_COUNT = re.compile(rb"(?i)s(?:$|[_-])")
_PLACEHOLDER = re.compile(
    rb"[);,]|\[\[secret:|\[\[digest:|(?:none|null|nil|true|false|undefined|string|"
    rb"str|required|optional|redacted|\[?_{0,2}redacted_{0,2}\]?|hidden|masked|changeme|example|"
    rb"your[-_ ].*|os\.environ.*|os\.getenv.*|process\.env.*|env\..*|getenv.*|input|prompt|n/a)$",
    re.I | re.S,
)
_ELSEWHERE = re.compile(
    rb"(?:~|\.{1,2})?/[\w.@ -]+(?:/[\w.@ -]*)*$|[A-Za-z]:\\|[a-z][a-z0-9+.-]{1,15}://|arn:|"
    rb"[a-z0-9_.-]+(?:/[a-z0-9_.-]+)+$"
)
_CODE = re.compile(rb"[A-Za-z_][\w.]*\(|[A-Za-z_]\w*\.[A-Za-z_][\w.]*$|[A-Za-z_]\w*\[")
_NAME = re.compile(rb"[A-Za-z]{1,16}(?:[-_. ](?:[A-Za-z]{1,16}|v?[0-9]{1,3}))*$")
_DIGIT, _LETTER = re.compile(rb"[0-9]"), re.compile(rb"[A-Za-z\x80-\xff]")
_MIXED = re.compile(rb"(?=.*[A-Za-z\x80-\xff])(?=.*[0-9!@#$%^&*+=?])", re.S)

_KEY = re.compile(
    r"(?:^|[^a-z])(?:[a-z]{0,24}(?:pass(?:word|wd|phrase|code)|pwd)|(?:[a-z0-9]{0,24})(?:secret|token)"
    r"|[a-z]{0,24}(?:api|access|account|private|auth|encryption|signing|master|session|license|"
    r"shared|storage|subscription|secret)[ _.-]?key|credentials?|(?:proxy[_-]?)?authorization|"
    r"(?:set[_-]?)?cookie)(?:[_.-]?(?:value|hash|plain|text|base64|b64|field|input))?$"
)


def key_family(key: str) -> Family | None:
    """What the value of an attribute or field named `key` is, None where nothing secret.

    Judged by the end of the name: `db.password` and `X-Api-Key` tell, `token_count` does not.
    """
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key).lower()
    if len(name) > 256 or not _KEY.search(name):
        return None
    if "pass" in name or name.endswith("pwd") or "authorization" in name or "cookie" in name:
        return "password"
    return "token"


def value_of(text: bytes, found: KeywordMatch, family: Family) -> tuple[int, int] | None:
    """Where the value after a keyword stands.

    None where there is no secret: a harmless word (`token_count`), a reference (`$TOKEN`, a path, a
    URL, code) or a value that is nothing secret by its form.
    """
    rest = text[found.rest[0] : found.rest[1]]
    if rest and (
        _HARMLESS.search(rest) or (family == "token" and _PLURAL_COUNT.match(rest) is not None)
    ):
        return None
    quoted, first = found.opening is not None, found.value
    if found.opening is not None:
        end = _closing(text, first, text[found.opening[0] : found.opening[1]])
    else:
        bare = _BARE.match(text, first)
        end = bare.end() if bare else first
        while end > first and text[end - 1] in b").]}:!?":
            end -= 1
    value = text[first:end]
    if not is_secret(value, family, quoted=quoted, sure=found.tight):
        return None
    if not quoted and family == "password":
        word = text[found.keyword : found.rest[1]]
        if _names_itself(word, value):
            return None
    return first, end


def is_secret(value: bytes, family: Family, *, quoted: bool, sure: bool = False) -> bool:
    """Whether a value next to a telling word is a secret by its form.

    `sure`: the separator leaves no doubt, as in `KEY=value`.
    """
    if len(value) < 4 or _PLACEHOLDER.match(value) or not spelt_out(value):
        return False
    if _ELSEWHERE.match(value) and not (len(value) >= 32 and _random(value)):
        return False
    if not quoted and _CODE.match(value):
        return False
    if family == "password":
        return value.count(b" ") < 5 if quoted else sure or bool(_MIXED.match(value))
    if len(value) < 8 or value.isdigit() or b" " in value or _NAME.match(value):
        return False
    if _DIGIT.search(value) and _LETTER.search(value):
        return True
    return len(value) >= 16 and _random(value)


def _random(value: bytes) -> bool:
    """At least 3.2 bits a byte in itself, and not of lower-case words only."""
    total = len(value)
    entropy = -sum(n / total * math.log2(n / total) for n in Counter(value).values())
    return entropy >= 3.2 and not value.islower()


def _closing(text: bytes, first: int, opening: bytes) -> int:
    """Where the quotation opened by `opening` (k backslashes and a quote) ends.

    Inside a text with k backslashes, quotes of more backslashes belong to it.
    """
    quote, escapes = opening[-1:], len(opening) - 1
    limit = min(len(text), first + _QUOTED_MOST)
    at = text.find(quote, first, limit)
    while at >= 0:
        backslashes = at
        while backslashes > first and text[backslashes - 1] == 0x5C and at - backslashes < 16:
            backslashes -= 1
        if at - backslashes <= escapes:
            return backslashes
        at = text.find(quote, at + 1, limit)
    cut = _BARE.match(text, first)
    return cut.end() if cut else first


def _names_itself(word: bytes, value: bytes) -> bool:
    """`password=password` and `password=db_password` pass a variable on."""
    return value.lower().endswith(word.lower()) and value.replace(b"_", b"").isalpha()
