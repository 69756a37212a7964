"""Secrets become keyed digests before anything is queued or stored."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, TypeVar

from collector.redact_finder import SecretFinder, shipped_finder
from collector.redact_keywords import Family, is_secret, key_family
from collector.redact_shapes import digest, shaped
from contracts.record import DeadLetter
from contracts.span import Event, LogEvent, Span, Value

T = TypeVar("T")

FLAG = "redacted"
HEAD_BYTES = 512
KEYS_KNOWN = 65_536
"""Attribute names remembered as telling of no secret; names are the sender's, so bounded."""
LEAST_KEY_BYTES = 16
ROUNDS_MOST = 16
"""Of one text; two are the rule. More is an error, and with it the whole text goes."""
DEPTH_MOST = 64
"""Of a value that is replaced after an error; decoded ones are far less deep."""


class Redactor:
    """`contracts.ports.Redact`: every text of a span or log event, its secrets replaced by
    `[[secret:<rule>:<16 hex digits>]]`.

    The digits are HMAC-SHA-256 of the secret under `key` alone: the same secret gives the same
    digits wherever it stands, whatever rule found it, and nothing without the key. Texts that hold
    JSON are searched as they are, with JSON's escapes understood one level deep. Redacting twice
    changes nothing more. An error while searching replaces every text of the span (fail closed) and
    counts in `errors`, the last one's kind is `last_error`. Not thread-safe.

    `secrets` False leaves secrets alone. `arguments` = `digest` replaces, beyond secrets, all
    content by digests and shapes; see `collector.redact_shapes`.

    A redacted span has the flag `redacted`, and its `digest` is keyed, because a plain hash of the
    span as received lets a short secret be guessed.
    """

    def __init__(
        self,
        key: bytes,
        *,
        secrets: bool = True,
        arguments: Literal["keep", "digest"] = "keep",
        finder: SecretFinder | None = None,
    ) -> None:
        if len(key) < LEAST_KEY_BYTES:
            raise ValueError(f"the redaction key must have at least {LEAST_KEY_BYTES} bytes")
        self._key = key
        self._secrets = secrets
        self._shapes = arguments == "digest"
        self._off = not secrets and not self._shapes
        self._finder = finder or shipped_finder()
        self._plain_keys: set[str] = set()
        self._resource: tuple[Mapping[str, Value], Mapping[str, Value]] = ({}, {})
        self.errors = 0
        self.last_error = ""

    def span(self, span: Span) -> Span:
        return self._closed(span, self._span, self._blank_span)

    def log(self, log: LogEvent) -> LogEvent:
        return self._closed(log, self._log, self._blank_log)

    def dead_letter(self, letter: DeadLetter) -> DeadLetter:
        """With the secrets in its head replaced; without its head where all content is."""
        return self._closed(letter, self._letter, self._headless)

    def _closed(self, item: T, redact: Callable[[T], T], blank: Callable[[T], T]) -> T:
        """`item` redacted; blank after an error, whatever a rule did."""
        if self._off:
            return item
        try:
            return redact(item)
        except Exception as error:
            self.errors += 1
            self.last_error = type(error).__name__  # its message may hold the text
            return blank(item)

    def _span(self, span: Span) -> Span:
        resource = self._shared(span.resource)
        texts = [span.name, span.status_message]
        suspect = self._gather(span.attributes, texts)
        for event in span.events:
            texts.append(event.name)
            suspect |= self._gather(event.attributes, texts)
        if not (suspect or self._shapes or self._found(texts)):
            if resource is span.resource:
                return span
            return self._changed(span, replace(span, resource=resource))
        attributes, events = self._mapping(span.attributes), span.events
        if events:
            events = tuple(
                Event(self._text(e.name), e.time_ns, self._mapping(e.attributes)) for e in events
            )
        redacted = replace(
            span,
            name=self._text(span.name),
            status_message=self._message(span.status_message),
            resource=resource,
            attributes=attributes,
            events=events,
        )
        return self._changed(span, redacted)

    def _changed(self, before: Span, after: Span) -> Span:
        if after == before:
            return before
        return replace(after, flags=(*before.flags, FLAG), digest=self._keyed_digest(before.digest))

    def _log(self, log: LogEvent) -> LogEvent:
        resource = self._shared(log.resource)
        body: Mapping[str, Value] = {"": log.body}
        texts = [log.name]
        suspect = self._gather(log.attributes, texts) | self._gather(body, texts)
        if resource is log.resource and not (suspect or self._shapes or self._found(texts)):
            return log
        redacted = replace(
            log,
            name=self._text(log.name),
            resource=resource,
            attributes=self._mapping(log.attributes),
            body=self._mapping({"body": log.body})["body"],
        )
        if redacted == log:
            return log
        return replace(redacted, digest=self._keyed_digest(log.digest))

    def _shared(self, resource: Mapping[str, Value]) -> Mapping[str, Value]:
        """The redacted resource; spans of one request share it, so it is looked at once."""
        before, after = self._resource
        if resource is not before:
            texts: list[str] = []
            after = resource
            if self._secrets and (self._gather(resource, texts) or self._found(texts)):
                changed = {k: self._value(k, v) for k, v in resource.items()}
                after = resource if changed == resource else changed
            self._resource = (resource, after)
        return after

    def _gather(self, values: Mapping[str, Value], texts: list[str]) -> bool:
        """Add all texts in `values`; whether a key tells of a secret, or bytes need a look."""
        suspect = False
        plain = self._plain_keys
        for key, value in values.items():
            if key not in plain and self._tells(key):
                suspect = True
            if type(value) is str:
                texts.append(value)
            elif type(value) is dict:
                suspect |= self._gather(value, texts)
            elif type(value) is list:
                suspect |= self._gather_list(value, texts)
            elif type(value) is bytes:
                suspect = True
        return suspect

    def _gather_list(self, values: list[Value], texts: list[str]) -> bool:
        suspect = False
        for value in values:
            if type(value) is str:
                texts.append(value)
            elif type(value) is dict:
                suspect |= self._gather(value, texts)
            elif type(value) is list:
                suspect |= self._gather_list(value, texts)
            elif type(value) is bytes:
                suspect = True
        return suspect

    def _tells(self, key: str) -> bool:
        if key_family(key) is not None:
            return True
        if len(self._plain_keys) < KEYS_KNOWN:
            self._plain_keys.add(key)
        return False

    def _found(self, texts: list[str]) -> bool:
        """Whether any text holds a secret; one search over all, for most spans hold none.

        A zero byte stands between two texts, which no rule reaches over.
        """
        return self._secrets and self._finder.holds(
            "\0".join(texts).encode("utf-8", "surrogatepass")
        )

    def _mapping(self, values: Mapping[str, Value]) -> dict[str, Value]:
        redacted: dict[str, Value] = dict(values)
        if self._secrets:
            redacted = {key: self._value(key, value) for key, value in values.items()}
        return shaped(redacted, self._mac) if self._shapes else redacted

    def _value(self, key: str, value: Value) -> Value:
        """`value` redacted, knowing the name it goes by."""
        family = None if key in self._plain_keys else key_family(key)
        return self._named(family, value)

    def _named(self, family: Family | None, value: Value) -> Value:
        if isinstance(value, str):
            encoded = value.encode("utf-8", "surrogatepass")
            if family is not None and is_secret(encoded, family, quoted=True):
                return self._marker(value, family)
            return self._text(value)
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, list):
            return [self._named(family, item) for item in value]
        if isinstance(value, dict):
            return {key: self._value(key, item) for key, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        if not self._secrets:
            return text
        before = text.encode("utf-8", "surrogatepass")
        after = self._bytes(before)
        return text if after is before else after.decode("utf-8", "surrogatepass")

    def _message(self, text: str) -> str:
        text = self._text(text)
        return digest(text, self._mac) if self._shapes else text

    def _bytes(self, text: bytes) -> bytes:
        """`text` without secrets. A marker in the place of one can show another beside it, so
        until there is none; then redacting again changes nothing.
        """
        for _ in range(ROUNDS_MOST):
            secrets = self._finder.find(text)
            if not secrets:
                return text
            parts: list[bytes] = []
            at = 0
            for secret in secrets:
                digits = self._mac(text[secret.first : secret.end])
                parts += (text[at : secret.first], f"[[secret:{secret.rule}:{digits}]]".encode())
                at = secret.end
            text = b"".join((*parts, text[at:]))
        raise RuntimeError("redaction does not come to an end")

    def _mac(self, content: bytes) -> str:
        return hmac.digest(self._key, content, "sha256")[:8].hex()

    def _marker(self, text: str, rule: str) -> str:
        if not text:
            return text
        return f"[[secret:{rule}:{self._mac(text.encode('utf-8', 'surrogatepass'))}]]"

    def _keyed_digest(self, digest: str) -> str:
        return hashlib.blake2b(
            digest.encode(), key=self._key[:64], digest_size=16, person=b"span digest"
        ).hexdigest()

    def _letter(self, letter: DeadLetter) -> DeadLetter:
        if self._shapes:
            return self._headless(letter)
        head = self._bytes(letter.head)
        return letter if head is letter.head else replace(letter, head=head[:HEAD_BYTES])

    def _headless(self, letter: DeadLetter) -> DeadLetter:
        return replace(letter, head=b"")

    def _blank_span(self, span: Span) -> Span:
        return replace(
            span,
            name=self._marker(span.name, "error"),
            status_message=self._marker(span.status_message, "error"),
            resource=self._blank(span.resource),
            attributes=self._blank(span.attributes),
            events=tuple(
                Event(self._marker(e.name, "error"), e.time_ns, self._blank(e.attributes))
                for e in span.events
            ),
            flags=(*span.flags, FLAG),
            digest=self._keyed_digest(span.digest),
        )

    def _blank_log(self, log: LogEvent) -> LogEvent:
        return replace(
            log,
            name=self._marker(log.name, "error"),  # a body that is text may stand there
            resource=self._blank(log.resource),
            attributes=self._blank(log.attributes),
            body=self._blank_value(log.body),
            digest=self._keyed_digest(log.digest),
        )

    def _blank(self, values: Mapping[str, Value], depth: int = 0) -> dict[str, Value]:
        return {key: self._blank_value(value, depth) for key, value in values.items()}

    def _blank_value(self, value: Value, depth: int = 0) -> Value:
        if depth > DEPTH_MOST:
            return self._marker("too deep", "error")
        if isinstance(value, str):
            return self._marker(value, "error")
        if isinstance(value, bytes):
            return self._marker(value.hex(), "error")
        if isinstance(value, list):
            return [self._blank_value(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return self._blank(value, depth + 1)
        return value
