"""Content as keyed digests and shapes: equality and novelty stay, the words go.

What is kept: keys, ids, names of tools, agents and models, roles, numbers of elements, booleans,
tool definitions, and attributes of one short word. What is content is told by the last part of the
key (`gen_ai.tool.call.arguments`, `input.value`); texts and structures under an unknown key are
content, too.
"""

import re
from collections.abc import Callable, Mapping

import orjson

from contracts.span import Value

Mac = Callable[[bytes], str]

CONTENT = re.compile(
    r"(?:^|[._-])(?:arguments|args|kwargs|inputs?|outputs?|results?|response|contents?|text|value|"
    r"values|params|prompts?|completions?|body|data|query|statement|message|full_command|command|"
    r"file_path|stacktrace|parameters|reasoning|thinking|summary|instructions?|system_instructions)$",
    re.I,
)
DEFINITIONS = re.compile(
    r"(?:definitions?|(?:^|[._])tools|functions|json_schema|schema|(?:tool|agent)[._]description)$",
    re.I,
)
NAMES = re.compile(
    r"(?:^|[._-])(?:name|names|id|ids|model|type|kind|role|roles|version|status|system|provider|title)$"
    r"|[a-z](?:Name|Id|Type|Model|Version)$"
)
NAME_MOST = 256
IDS = frozenset({"tool_call_id", "call_id", "tool_use_id", "toolCallId", "toolUseId", "callId"})
ASKED_WITH = frozenset({"arguments", "args", "input", "parameters"})
OF_AN_ASK = frozenset({"name", "id", "type"}) | IDS
ROLES = frozenset(
    {"user", "assistant", "system", "tool", "human", "ai", "model", "developer", "function"}
)
SHORT = re.compile(r"[\w.:/@+~-]{1,128}")
CLASSES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("digits", re.compile(r"[0-9]+")),
    ("uuid", re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("hex", re.compile(r"[0-9a-fA-F]{8,}")),
    ("url", re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://\S+")),
    ("email", re.compile(r"[^\s@/]+@[^\s@/]+\.[A-Za-z]{2,24}")),
    ("path", re.compile(r"(?:~|\.{1,2})?/\S*")),
    ("word", re.compile(r"[\w.-]+")),
)
MARKER = re.compile(r"\[\[digest:[0-9a-f]{16}:[a-z]{1,8}:[0-9]{1,12}:[a-z]{1,8}\]\]")


def digest(value: str | int | float | bytes, mac: Mac) -> str:
    """`[[digest:<hmac>:<type>:<length>:<class>]]`; length in characters, for a number of its
    digits.
    """
    if isinstance(value, str):
        if not value or MARKER.fullmatch(value):
            return value
        kind = next((name for name, form in CLASSES if form.fullmatch(value)), "text")
        return f"[[digest:{mac(value.encode('utf-8', 'surrogatepass'))}:text:{len(value)}:{kind}]]"
    if isinstance(value, bytes):
        return f"[[digest:{mac(value)}:bytes:{len(value)}:binary]]"
    written = repr(value)
    kind = "int" if isinstance(value, int) else "float"
    return f"[[digest:{mac(written.encode())}:{kind}:{len(written)}:number]]"


def shaped(attributes: Mapping[str, Value], mac: Mac) -> dict[str, Value]:
    """The attributes with their content replaced."""
    return {key: _field(key, value, mac, nested=False) for key, value in attributes.items()}


def _field(key: str, value: Value, mac: Mac, *, nested: bool) -> Value:
    if DEFINITIONS.search(key):
        return value
    if CONTENT.search(key):
        return _content(value, mac)
    if isinstance(value, str) and len(value) <= NAME_MOST and NAMES.search(key):
        return value
    return _unknown(value, mac, nested=nested)


def _unknown(value: Value, mac: Mac, *, nested: bool) -> Value:
    """A value whose key tells nothing: short text stays as an attribute, not inside structures."""
    if isinstance(value, str):
        if not nested and SHORT.fullmatch(value):
            return value
        structure = _parsed(value)
        if structure is None:
            return digest(value, mac)
        return _dumped(_unknown(structure, mac, nested=True))
    if isinstance(value, bytes):
        return digest(value, mac)
    if isinstance(value, list):
        return [_unknown(item, mac, nested=nested) for item in value]
    if isinstance(value, dict):
        return {_key(key, mac): _field(key, item, mac, nested=True) for key, item in value.items()}
    return value


def _content(value: Value, mac: Mac) -> Value:
    if isinstance(value, str):
        structure = _parsed(value)
        return digest(value, mac) if structure is None else _dumped(_content(structure, mac))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, bytes)):
        return digest(value, mac)
    if isinstance(value, list):
        return [_content(item, mac) for item in value]
    ask = isinstance(value.get("name"), str) and not ASKED_WITH.isdisjoint(value)
    return {
        _key(key, mac): item if _kept(key, item, ask) else _content(item, mac)
        for key, item in value.items()
    }


def _kept(key: str, value: Value, ask: bool) -> bool:
    """Whether a field inside content is no content: ids, roles, and of a call its name."""
    if not isinstance(value, str) or not SHORT.fullmatch(value):
        return False
    return key in IDS or (key == "role" and value in ROLES) or (ask and key in OF_AN_ASK)


def _key(key: str, mac: Mac) -> str:
    return key if SHORT.fullmatch(key) else digest(key, mac)


def _parsed(text: str) -> Value:
    """The JSON array or object that `text` is, else None."""
    if text[:1] not in ("{", "[") or text.startswith("[["):
        return None
    try:
        value: Value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value


def _dumped(value: Value) -> str:
    return orjson.dumps(value).decode()
