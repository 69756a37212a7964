"""Asks, answers, requests and offered tools out of model messages, whatever shape they have.

One walk over the decoded value knows tool calls and their answers by tags (a `type`, or the key a
dict stands under) rather than by vendor: OpenAI `tool_calls` and Responses items, Anthropic
`tool_use`, Bedrock `toolUse`, Google `functionCall`, GenAI `parts`, Vercel `tool-call`, LangChain
messages, and Python reprs of such objects.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import orjson

from collector.message_parts import (
    failed_flag,
    first,
    first_text,
    flat_parts,
    said,
    typed_output,
)
from collector.python_reprs import REPR, repr_calls, repr_lists
from collector.results import result
from collector.values import arguments, decode, text_of
from contracts.span import Value
from contracts.trajectory import ArgumentsState

DEPTH = 14
"""Nesting walked; the deepest captured message (LangChain generations) needs 9."""

ITEMS = 2_000
"""Asks and answers taken from one span at most."""

REQUEST_CHARACTERS = 4_000
"""Kept of the user's first message."""

ANSWER_CHARACTERS = 8_000
"""Kept of an answer's text; the tool's own span has it whole."""

SYSTEM_CHARACTERS = 500
"""Read of a system prompt: an agent's name stands at its beginning."""


class Ask(NamedTuple):
    """A tool call that stands in a model's output. `call_id` "" where none is given."""

    call_id: str
    tool: str
    arguments: Value
    arguments_state: ArgumentsState
    provider: bool = False


class Answer(NamedTuple):
    """A tool's answer as the model was told it. `failed`: None where the message does not say."""

    call_id: str
    tool: str
    content: Value
    failed: bool | None


class Messages(NamedTuple):
    """What one list of messages says, in its order."""

    asks: tuple[Ask, ...]
    answers: tuple[Answer, ...]
    request: str
    system: str = ""


NOTHING = Messages((), (), "")


def joined(one: Messages, other: Messages) -> Messages:
    """What both say, `one` first."""
    if other is NOTHING:
        return one
    if one is NOTHING:
        return other
    return Messages(
        one.asks + other.asks,
        one.answers + other.answers,
        one.request or other.request,
        one.system or other.system,
    )


_ASK = re.compile(
    r"^(?:server_|mcp_|custom_|web_search_|code_interpreter_|computer_|local_shell_|builtin_)?"
    r"(?:tool|function|mcp)_?(?:calls?|uses?|invocations?|requests?)(?:_requests?|_blocks?)?$|"
    r"^(?:web_search|file_search|code_interpreter|computer|image_generation|local_shell)_call$|"
    r"^(?:server|mcp)_tool_(?:call|use)$|^dynamic_tool$|^tool_(?:execution|call)_requests?$"
)
_ANSWER = re.compile(
    r"(?:tool|function|mcp|call|web_search\w*|code_execution\w*)_?(?:call_|execution_)?"
    r"(?:results?|responses?|outputs?|returns?|answers?|messages?|errors?)(?:_blocks?)?$|"
    r"^tool_(?:call|use)_(?:response|result|output)s?$|^retry_prompt$|^observation$|^toolmessage$"
)
_ANSWER_ROLES = frozenset(
    {"tool", "function", "tool_response", "tool_result", "toolresult", "observation"}
)
_USER_ROLES = frozenset({"user", "human", "humanmessage", "user_prompt", "humanmessagechunk"})
_SYSTEM_ROLES = frozenset({"system", "developer", "systemmessage"})
_MODEL_ROLES = frozenset(
    {"assistant", "ai", "model", "aimessage", "aimessagechunk", "bot", "agent"}
)
# fmt: off
_ROLES = _USER_ROLES | _MODEL_ROLES | _SYSTEM_ROLES
_SKIPPED = frozenset(
    {
        "additional_kwargs", "response_metadata", "usage", "usage_metadata", "metadata",
        "invalid_tool_calls", "tools", "tool_definitions", "generation_info", "llm_output",
        "model_config", "config", "function_declarations", "generation_config", "tool_config",
        "safety_ratings", "lc_attributes",
    }
)
# fmt: on
_NAMES = ("name", "tool_name", "toolName", "function_name", "functionName", "tool")
_IDS = (
    "call_id",
    "tool_call_id",
    "toolCallId",
    "toolUseId",
    "tool_use_id",
    "callId",
    "ref",
    "id",
)
_ARGUMENTS = ("arguments", "args", "input", "parameters", "params", "args_json", "argsText")
_CONTENT = (
    "response",
    "result",
    "output",
    "content",
    "return",
    "return_value",
    "text",
    "error",
    "value",
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=4_096)
def _tag(word: str) -> str:
    return _CAMEL.sub("_", word[:60]).replace("-", "_").replace(" ", "_").lower()


@lru_cache(maxsize=4_096)
def _may_be(tag: str) -> tuple[bool, bool]:
    """Whether what stands under `tag` may be an answer, and whether an ask."""
    return _ANSWER.search(tag) is not None, _ASK.match(tag) is not None


def read(value: Value, name: str = "") -> Messages:
    """Asks, answers and the first user message in `value`: text, dict or list of messages.

    `name`: last word of the attribute it stood in, which may say `toolCalls`.
    """
    walk = _Walk()
    walk.visit(decode(value), _tag(name), "", 0)
    # Some leave out what is empty: an answer without content beside others that have theirs.
    nothing: Value = "" if any(answer.content is not None for answer in walk.answers) else None
    answers = tuple(
        answer._replace(content=nothing if answer.content is None else _cut(answer.content))
        for answer in walk.answers
    )
    return Messages(tuple(walk.asks), answers, walk.request, walk.system)


def _cut(content: Value) -> Value:
    if isinstance(content, str):
        return content[:ANSWER_CHARACTERS]
    if isinstance(content, (dict, list)):
        text = orjson.dumps(content)
        if len(text) > ANSWER_CHARACTERS:
            return text[:ANSWER_CHARACTERS].decode("utf-8", "ignore")
    return content


class _Walk:
    """Collects while walking; `asks` hold each call id once."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.answers: list[Answer] = []
        self.request = ""
        self.system = ""
        self._ids: set[str] = set()

    def visit(self, value: Value, tag: str, role: str, depth: int) -> None:
        """`tag`: the key under which `value` stands; `role`: of the message around it."""
        if depth > DEPTH or len(self.asks) + len(self.answers) > ITEMS:
            return
        if isinstance(value, list):
            for item in value:
                self.visit(item, tag, role, depth + 1)
        elif isinstance(value, dict):
            self._dict(value, tag, role, depth)
        elif isinstance(value, str):
            self._text(value, tag, role, depth)

    def _text(self, text: str, tag: str, role: str, depth: int) -> None:
        if "(" in text and REPR.search(text):
            for kind, call in repr_calls(text):
                self._repr(kind, call, role)
        elif "=[" in text:
            for listed in repr_lists(text):
                self.visit(listed, "", role, depth + 1)
        elif text[:1] in "[{" and (tag in _CARRIERS or _may_be(tag)[1]):
            inner = decode(text)
            if not isinstance(inner, str):
                self.visit(inner, tag, role, depth + 1)
        if role in _USER_ROLES and not self.request and text.strip():
            self.request = text[:REQUEST_CHARACTERS]

    def _dict(self, value: dict[str, Value], tag: str, role: str, depth: int) -> None:
        kind = value.get("type") or value.get("kind") or value.get("part_kind") or ""
        own = _tag(kind) if isinstance(kind, str) else ""
        told = value.get("role") or value.get("_role")
        if isinstance(told, str) and told:
            role = _tag(told.rsplit(".", 1)[-1])
        elif own in _ROLES or (own == "tool" and ("content" in value or "data" in value)):
            role = own
        identifiers = value.get("id")
        if value.get("lc") and isinstance(identifiers, list) and identifiers:
            role = _tag(str(identifiers[-1])).replace("_message", "message").replace("_", "")
            role = "tool" if role.startswith("tool") else role
        if "approval" in own:
            self._approval(value)
            return
        for word in (own, tag):
            if not word:
                continue
            answers, asks = _may_be(word)
            if answers and self._answer(value, depth):
                return
            if asks and self._ask(value, word):
                return
        if role in _ANSWER_ROLES and self._answer_message(value, depth):
            return
        if own == "function" and isinstance(value.get("function"), dict) and self._ask(value, own):
            return
        self._children(value, role, depth)

    def _children(self, value: dict[str, Value], role: str, depth: int) -> None:
        if role in _USER_ROLES and not self.request:
            self.request = said(value)[:REQUEST_CHARACTERS]
        elif role in _SYSTEM_ROLES and not self.system:
            self.system = said(value)[:SYSTEM_CHARACTERS]
        for key, item in value.items():
            if key in _SKIPPED and not (key == "additional_kwargs" and not value.get("tool_calls")):
                continue
            if isinstance(item, (dict, list)) or (isinstance(item, str) and item):
                self.visit(item, _tag(key), role, depth + 1)

    def _approval(self, value: dict[str, Value]) -> None:
        """A human's decision about a call; requests and consents say nothing new."""
        if value.get("approved") is not False:
            return
        inner = value.get("function_call") or value.get("tool_call") or value
        about = inner if isinstance(inner, dict) else value
        told = first(value, ("reason", "message")) or "The call was not approved."
        self.answers.append(
            Answer(first_text(about, _IDS), first_text(about, _NAMES), result(told), True)
        )

    def _ask(self, value: dict[str, Value], word: str) -> bool:
        function = value.get("function") or value.get("function_call") or value.get(word)
        inner = function if isinstance(function, dict) else value
        tool = first_text(inner, _NAMES) or first_text(value, _NAMES)
        if not tool and isinstance(function, str):
            tool = function
        call_id = first_text(value, _IDS) or first_text(inner, _IDS)
        raw = first(inner, _ARGUMENTS)
        if raw is None and inner is not value:
            raw = first(value, _ARGUMENTS)
        if not tool:
            if raw is None or not word.endswith("_call"):
                return False
            tool = word.removesuffix("_call")
        if raw is None and not call_id and first(value, _CONTENT) is not None:
            return False
        decoded = arguments(raw)
        provider = word.startswith(("server_", "web_search", "code_", "file_search", "mcp_"))
        self._add(Ask(call_id, tool, decoded.value, decoded.state, provider))
        if provider or "output" in value or "result" in value:
            told = first(value, ("output", "result", "error"))
            if told is not None and call_id:
                failed = value.get("error") is not None
                self.answers.append(Answer(call_id, tool, result(told), failed or None))
        return True

    def _add(self, ask: Ask) -> None:
        if ask.call_id:
            if ask.call_id in self._ids:
                return
            self._ids.add(ask.call_id)
        self.asks.append(ask)

    def _answer(self, value: dict[str, Value], depth: int) -> bool:
        call_id = first_text(value, _IDS)
        tool = first_text(value, _NAMES)
        if not call_id and not tool:
            return False
        content = first(value, _CONTENT)
        self.answers.append(
            Answer(call_id, tool, result(typed_output(content)), failed_flag(value, content))
        )
        return True

    def _answer_message(self, value: dict[str, Value], depth: int) -> bool:
        """A message of role tool: parts that are answers, else the message as a whole."""
        for key in ("data", "kwargs"):
            inner = value.get(key)
            if isinstance(inner, dict) and "content" in inner:
                return self._answer_message(inner, depth)
        before = len(self.answers)
        for key in ("parts", "content", "contents", "_content"):
            part = value.get(key)
            if isinstance(part, list):
                self.visit(part, "", "tool_message", depth + 1)
        if len(self.answers) > before:
            own_id = first_text(value, _IDS[:-1])
            last = self.answers[-1]
            if own_id and not last.call_id:
                self.answers[-1] = last._replace(call_id=own_id)
            return True
        call_id = first_text(value, _IDS[:-1])
        tool = first_text(value, _NAMES)
        content = first(
            value, ("content", "parts", "contents", "text", "output", "result", "response")
        )
        if content is None and not call_id:
            return False
        if not call_id and isinstance(content, dict) and content.get("type") == "function":
            return True
        if not call_id:
            call_id = text_of(value.get("id"))
        self.answers.append(
            Answer(call_id, tool, result(flat_parts(content)), failed_flag(value, content))
        )
        return True

    def _repr(self, kind: str, call: Mapping[str, Value], role: str) -> None:
        tool = first_text(call, _NAMES)
        call_id = first_text(call, ("call_id", "tool_call_id", "id"))
        if "result" in call or kind.endswith(("Result", "Output", "Return", "Response")):
            if tool or call_id:
                failed = call.get("error")
                content = result(first(call, ("result", "output", "content", "response")))
                flag = failed if isinstance(failed, bool) and failed else None
                self.answers.append(Answer(call_id, tool, content, flag))
        elif tool and role not in _ANSWER_ROLES:
            self._add(Ask(call_id, tool, *arguments(first(call, _ARGUMENTS))))


_CARRIERS = frozenset(
    {"content", "text", "message", "messages", "value", "kwargs", "output", "input"}
)
