"""Cuts what is too big out of decoded values; what is small enough is left as it is."""

from collections.abc import Mapping
from dataclasses import replace

from collector.config import DecodeLimits
from contracts.span import Event, Value


class Caps:
    """The caps of one span, event list, log record or resource. `cut`: whether any was applied;
    `dropped`: attributes and events left out.
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._values_left = limits.values
        self.cut = False
        self.dropped = 0

    def attributes(self, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """The first `limits.attributes` in the order given, with keys and values within limits."""
        kept: dict[str, Value] = {}
        for key, value in attributes.items():
            if len(kept) == self._limits.attributes:
                break
            if len(key) <= self._limits.key_chars:
                kept[key] = self.value(value)
        if len(kept) < len(attributes):
            self.cut = True
            self.dropped += len(attributes) - len(kept)
        return kept

    def events(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The first `limits.events`, their names and attributes within limits."""
        kept = events[: self._limits.events]
        if len(kept) < len(events):
            self.cut = True
            self.dropped += len(events) - len(kept)
        return tuple(
            replace(event, name=self.text(event.name), attributes=self.attributes(event.attributes))
            for event in kept
        )

    def text(self, text: str) -> str:
        """The first `limits.value_chars` characters."""
        if len(text) <= self._limits.value_chars:
            return text
        self.cut = True
        return text[: self._limits.value_chars]

    def value(self, value: Value) -> Value:
        """`value` with long texts cut, and None for what is past `limits.values`."""
        self._values_left -= 1
        if self._values_left < 0:
            self.cut = True
            return None
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            if len(value) > self._limits.value_chars:
                self.cut = True
                return value[: self._limits.value_chars]
            return value
        if isinstance(value, list):
            kept = value[: max(self._values_left, 0)]
            self.cut = self.cut or len(kept) < len(value)
            return [self.value(item) for item in kept]
        if isinstance(value, dict):
            return self.attributes(value)
        return value
