"""Parts of messages as vendors shape them: texts, flags and first values present."""

from collections.abc import Mapping
from typing import cast

from collector.results import text_block
from collector.values import text_of
from contracts.span import Value


def said(value: Mapping[str, Value]) -> str:
    """The text of a message, wherever its vendor keeps it."""
    for key in ("content", "text", "parts", "contents", "data", "kwargs"):
        text = plain_text(value.get(key), 0)
        if text.strip():
            return text
    return ""


def first(value: Mapping[str, Value], names: tuple[str, ...]) -> Value:
    """The first value under `names` that is there."""
    for name in names:
        found = value.get(name)
        if found is not None:
            return found
    return None


def first_text(value: Mapping[str, Value], names: tuple[str, ...]) -> str:
    """The first text under `names` that is no placeholder."""
    for name in names:
        found = value.get(name)
        if isinstance(found, (str, int)) and not isinstance(found, bool):
            text = text_of(found)
            if text:
                return text
    return ""


def failed_flag(value: Mapping[str, Value], content: Value) -> bool | None:
    """Whether an answer says that its tool failed; None where it does not say."""
    for key in ("is_error", "isError"):
        flag = value.get(key)
        if isinstance(flag, bool):
            return flag
    status = value.get("status")
    if isinstance(status, str):
        if status.lower() in ("error", "failed", "failure"):
            return True
        if status.lower() in ("success", "completed"):
            return None
    if value.get("error") is not None and content is value.get("error"):
        return True
    kind = value.get("type") or value.get("part_kind")
    if isinstance(kind, str) and ("retry" in kind or kind.endswith("error")):
        return True
    if isinstance(content, dict) and str(content.get("type", "")).startswith(
        ("error", "execution-denied")
    ):
        return True
    return None


def typed_output(content: Value) -> Value:
    """Vercel's typed outputs: `{"type": "text", "value": ...}` to the value."""
    if (
        isinstance(content, dict)
        and content.keys() <= {"type", "value", "providerOptions"}
        and content.get("type") in ("text", "json", "error-text", "error-json", "content")
    ):
        return content.get("value")
    return content


def flat_parts(content: Value) -> Value:
    """Content blocks as one text, other content as it is."""
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        inner = [cast("dict[str, Value]", item).get("message_content", item) for item in content]
        texts = [text_block(item) for item in inner]
        return "\n".join(texts) if any(texts) else content
    return content


def plain_text(value: Value, depth: int) -> str:
    """All text in a message's content, one part a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth < 4:
        return "\n".join(filter(None, (plain_text(item, depth + 1) for item in value)))
    if isinstance(value, dict) and depth < 4:
        for key in ("text", "content", "message_content", "value"):
            if key in value:
                return plain_text(value[key], depth + 1)
    return ""
