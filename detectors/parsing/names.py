"""Verb-object analysis of tool names: what a tool does, told from its name, description, arguments.

No tool is known by name. A name is cut into words (snake, camel, kebab; prefixes such as `mcp__x__`
and `server.` stripped), the first word that is a verb decides the act, and the nouns beside it
refine it (`send` + `money` is a payment). Where the only verbs are as often nouns, a last word such
as `deletion` decides.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple

from detectors.parsing.verbs import (
    BARE_NOUNS,
    FUNDS,
    NAME_ENDINGS,
    NOMINALS,
    OBJECT_RULES,
    VERB_ARGUMENTS,
    VERBS,
)
from detectors.parsing.vocabulary import vocabulary

_PREFIX: Final = re.compile(r"^(?:mcp__[^_]+(?:_[^_]+)*__|.*[./:](?=[^./:]+$)|functions?[._])")
_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_DESCRIPTION_WORD: Final = re.compile(r"[A-Za-z]+")
_WEAK_VERBS: Final = vocabulary(
    "record log note message contact order monitor status post match sign type file call"
    " test credit label tag mail email short cron zip tar stash route scale config lock"
    " watch source comment release book review control plan import export access dispatch"
    " schedule return transfer trade complete rent draft resume copy request trigger pull flash"
    " store top pip npm apt brew capture charge bet star pin flag mint"
)
"""Verbs that are as often nouns: a stronger verb elsewhere in the name goes first."""
_SCRIPT_NAMES: Final = vocabulary("script code javascript")
_MAX_NAME: Final = 200


class ToolAct(NamedTuple):
    """What a tool does. `act` is of `detectors.parsing.verbs`, "none" where nothing could be told.

    `objects`: the nouns beside the verb, lower case, in order. `confidence`: in [0, 1].
    """

    act: str
    verb: str
    objects: tuple[str, ...]
    confidence: float


def words(name: str) -> tuple[str, ...]:
    """The lower-case words of an identifier, its namespace stripped."""
    return _words(name[:_MAX_NAME])


@lru_cache(maxsize=4_096)
def _words(name: str) -> tuple[str, ...]:
    bare = _PREFIX.sub("", name.strip()) or name
    return tuple(word.lower() for word in _WORD.findall(bare))


def _verb_of(tokens: tuple[str, ...]) -> tuple[int, str]:
    """Index and word of the verb that decides, (-1, "") where there is none."""
    weak = -1
    for index, token in enumerate(tokens):
        if token not in VERBS:
            stem = token[:-1] if token.endswith("s") and token[:-1] in VERBS else ""
            if not stem or index:
                continue
            token = stem
        if token not in _WEAK_VERBS or (index == 0 and tokens[1:2] and tokens[1] not in VERBS):
            return index, token
        if weak < 0:
            weak = index
    if weak < 0:
        return -1, ""
    return weak, tokens[weak]


def _refine(act: str, verb: str, objects: tuple[str, ...], arguments: Collection[str]) -> str:
    present = set(objects)
    if act == "none":
        return act
    if verb == "evaluate" and not _SCRIPT_NAMES.isdisjoint(arguments):
        return "execute"
    for acts, wanted, barred, then in OBJECT_RULES:
        if (act in acts or verb in acts) and present & wanted and not present & barred:
            return then
    if (
        verb in ("transfer", "deposit", "withdraw", "tip")
        and "amount" not in arguments
        and not present & FUNDS
        and objects
    ):
        return "move"
    return act


def _by_arguments(arguments: Collection[str]) -> str:
    """The act that the argument names alone suggest, "" where they suggest none."""
    names = {name.lower() for name in arguments}
    if names & {"recipient", "recipients", "to", "cc", "bcc"}:
        if names & {"amount", "currency", "iban"}:
            return "pay"
        if names & {"body", "message", "subject", "text", "content"}:
            return "send"
    if names & {"command", "cmd", "script", "code", "shell_command"}:
        return "execute"
    if names & {"sql", "statement"}:
        return "execute"
    if names & {"path", "file_path", "filename"} and names & {"content", "contents", "new_str"}:
        return "update"
    if names & {"url", "uri"}:
        return "submit" if names & {"data", "payload", "body", "json"} else "read"
    if names & {"query", "q", "keyword", "keywords"}:
        return "search"
    return ""


def tool_act(
    tool: str, description: str = "", arguments: Collection[str] = (), said: str = ""
) -> ToolAct:
    """What the call of a tool does.

    `arguments`: its argument names. `said`: the value of an argument that names the verb itself
    (`command: view`), "" if none; it goes before the name.
    """
    tokens = words(tool)
    if said:
        spoken = words(said)
        index, verb = _verb_of(spoken)
        if index == 0:
            objects = spoken[1:] + tokens
            return ToolAct(_refine(VERBS[verb], verb, objects, arguments), verb, objects, 0.8)
    index, verb = _verb_of(tokens)
    last = next((word for word in reversed(tokens) if word not in NAME_ENDINGS), "")
    if last in NOMINALS and (index < 0 or verb in _WEAK_VERBS):
        return ToolAct(NOMINALS[last], "", tokens, 0.6)
    if index >= 0:
        objects = tokens[:index] + tokens[index + 1 :]
        act = _refine(VERBS[verb], verb, objects, arguments)
        sure = verb not in _WEAK_VERBS or (index == 0 and len(tokens) > 1)
        return ToolAct(act, verb, objects, 0.9 if sure else 0.6)
    for token in tokens:
        if token in BARE_NOUNS:
            return ToolAct(BARE_NOUNS[token], "", tokens, 0.7)
    act = _by_arguments(arguments)
    if act:
        return ToolAct(act, "", tokens, 0.5)
    first = tuple(word.lower() for word in _DESCRIPTION_WORD.findall(description[:200])[:8])
    for index, word in enumerate(first[:3]):
        stem = word[:-1] if word.endswith("s") and word not in VERBS else word
        if stem in VERBS:
            objects = first[index + 1 :] + tokens
            return ToolAct(_refine(VERBS[stem], stem, objects, arguments), stem, objects, 0.6)
    return ToolAct("none", "", tokens, 0.2)


def says_verb(name: str, value: str) -> bool:
    """Whether the argument `name` with `value` looks like the verb of a many-purpose tool."""
    return name in VERB_ARGUMENTS and len(value) < 32 and value.replace("_", "").isalpha()
