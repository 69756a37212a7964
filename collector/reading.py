"""Reading of one span: the values that its attributes hold for each field, best first."""

import re
from collections.abc import Mapping

from collector.dialects import Field, Kind
from collector.kinds import Plan
from collector.messages import DEPTH, NOTHING, Messages, read
from collector.values import decode, text_of
from contracts.span import Span, Value

FLAT_PREFIX = re.compile(r"^(.+?)\.\d+(?:\.|$)")
"""`llm.input_messages.0.message.role` -> `llm.input_messages`."""


class Reading:
    """One span with the fields found in it."""

    def __init__(self, span: Span, plan: Plan, kind: Kind, dialect: str) -> None:
        self.span = span
        self.attributes: Mapping[str, Value] = span.attributes
        self.by_field = plan.names
        self.kind: Kind = kind
        self.dialect = dialect

    def names(self, one: Field) -> tuple[str, ...]:
        """Names of the field's attributes, best first."""
        return self.by_field.get(one, ())

    def values(self, one: Field) -> list[Value]:
        """Values of the field's attributes, best first, without nulls."""
        names = self.by_field.get(one)
        if names is None:
            return []
        return [value for name in names if (value := self.attributes[name]) is not None]

    def text(self, one: Field) -> str:
        """The first non-empty text of the field."""
        names = self.by_field.get(one)
        if names is not None:
            for name in names:
                found = text_of(self.attributes[name])
                if found:
                    return found
        return ""

    def whole(self, one: Field) -> list[tuple[str, Value]]:
        """Attribute name and value, best first; flattened messages put together again."""
        taken: list[tuple[str, Value]] = []
        prefixes: set[str] = set()
        for name in self.names(one):
            flat = FLAT_PREFIX.match(name)
            if flat is None:
                taken.append((name, self.attributes[name]))
            elif flat.group(1) not in prefixes:
                prefixes.add(flat.group(1))
                taken.append((flat.group(1), unflatten(self.attributes, flat.group(1))))
        return taken

    def messages(self, one: Field) -> Messages:
        """Messages in the field's attributes: of the first that holds asks or answers."""
        best = NOTHING
        for name, value in self.whole(one):
            found = read(_strings(value), name.rsplit(".", 1)[-1])
            if found.asks or found.answers:
                return found._replace(
                    request=found.request or best.request, system=found.system or best.system
                )
            if not best.request and (found.request or found.system):
                best = found
        return best


def _strings(value: Value) -> Value:
    """A list of JSON texts (Vercel) as a list of what they say."""
    if isinstance(value, list):
        return [decode(item) if isinstance(item, str) else item for item in value]
    return value


def unflatten(attributes: Mapping[str, Value], prefix: str) -> Value:
    """`prefix.0.role = x`, `prefix.0.parts.1.name = y`, ... as nested lists and dicts."""
    root: dict[str, Value] = {}
    start = len(prefix) + 1
    for name, value in attributes.items():
        if not name.startswith(prefix) or len(name) <= start or name[start - 1] != ".":
            continue
        at = root
        path = name[start:].split(".")
        if len(path) > DEPTH:
            continue
        for step in path[:-1]:
            below = at.get(step)
            if not isinstance(below, dict):
                below = {}
                at[step] = below
            at = below
        at[path[-1]] = value
    return _listed(root)


def _listed(value: Value) -> Value:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(item) for key, item in value.items()}
