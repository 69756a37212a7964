"""OTLP's message classes, built at run time so that upb does the work.

`repeated KeyValue attributes` and `map<string, AnyValue> attributes` have the same wire bytes; as a
map, upb removes repeated keys (the last one wins) and hands keys out as text in C. The file is
proto2 on purpose: its parser does not check UTF-8, so one broken text does not refuse the payload.
It is met when it is read, in its own span: as a value it comes out as bytes, as a key it raises.
Source: opentelemetry-proto 1.x, the files trace.proto, logs.proto, common.proto, resource.proto.

Many payloads are one message: `PollOfTraces{repeated TracesData payloads = 1}`. Resources and
scopes are left as bytes: the same few come again and again, so each is parsed once. `Envelope`
leaves spans and log records as bytes too, to parse each alone. The unchecked classes have bytes for
text and lists for maps, to mend what is not UTF-8.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar, cast

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_COMMON: dict[str, tuple[str, ...]] = {
    "AnyValue": (
        "1 string_value string",
        "2 bool_value bool",
        "3 int_value int64",
        "4 double_value double",
        "5 array_value ArrayValue",
        "6 kvlist_value KeyValueList",
        "7 bytes_value bytes",
    ),
    "ArrayValue": ("1 values *AnyValue",),
    "KeyValueList": ("1 values attributes",),
    "KeyValue": ("1 key string", "2 value AnyValue"),
    "Resource": ("1 attributes attributes",),
    "Scope": ("1 name string",),
    "Status": ("2 message string", "3 code int32"),
    "Event": (
        "1 time_unix_nano fixed64",
        "2 name string",
        "3 attributes attributes",
        "4 dropped_attributes_count uint32",
    ),
    "Span": (
        "1 trace_id bytes",
        "2 span_id bytes",
        "4 parent_span_id bytes",
        "5 name string",
        "6 kind int32",
        "7 start_time_unix_nano fixed64",
        "8 end_time_unix_nano fixed64",
        "9 attributes attributes",
        "10 dropped_attributes_count uint32",
        "11 events *Event",
        "12 dropped_events_count uint32",
        "14 dropped_links_count uint32",
        "15 status Status",
    ),
    "LogRecord": (
        "1 time_unix_nano fixed64",
        "5 body AnyValue",
        "6 attributes attributes",
        "9 trace_id bytes",
        "10 span_id bytes",
        "11 observed_time_unix_nano fixed64",
        "12 event_name string",
    ),
}
_PARSED = {
    "ScopeSpans": ("1 scope bytes", "2 items *Span"),
    "ResourceSpans": ("1 resource bytes", "2 scopes *ScopeSpans"),
    "TracesData": ("1 resources *ResourceSpans",),
    "PollOfTraces": ("1 payloads *TracesData",),
    "ScopeLogs": ("1 scope bytes", "2 items *LogRecord"),
    "ResourceLogs": ("1 resource bytes", "2 scopes *ScopeLogs"),
    "LogsData": ("1 resources *ResourceLogs",),
    "PollOfLogs": ("1 payloads *LogsData",),
}
_ENVELOPE = {
    "ScopeItems": ("1 scope bytes", "2 items *bytes"),
    "ResourceItems": ("1 resource bytes", "2 scopes *ScopeItems"),
    "Envelope": ("1 resources *ResourceItems",),
}
_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
}


class AnyValueMessage(Protocol):
    """`bytes_value` and the rest read as their default where another kind is set."""

    string_value: str
    bool_value: bool
    int_value: int
    double_value: float
    bytes_value: bytes

    @property
    def array_value(self) -> "ArrayMessage": ...
    @property
    def kvlist_value(self) -> "KeyValueListMessage": ...
    def WhichOneof(self, oneof_group: Literal["value"]) -> str | None: ...


class Attributes(Protocol):
    """A protobuf map; iterates over its keys in no particular order."""

    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: str) -> AnyValueMessage: ...


class ArrayMessage(Protocol):
    values: Sequence[AnyValueMessage]


class KeyValueListMessage(Protocol):
    values: Attributes


class ResourceMessage(Protocol):
    attributes: Attributes


class ScopeMessage(Protocol):
    name: str


class StatusMessage(Protocol):
    message: str
    code: int


class EventMessage(Protocol):
    time_unix_nano: int
    name: str
    attributes: Attributes
    dropped_attributes_count: int


class SpanMessage(Protocol):
    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: int
    start_time_unix_nano: int
    end_time_unix_nano: int
    attributes: Attributes
    dropped_attributes_count: int
    events: Sequence[EventMessage]
    dropped_events_count: int
    dropped_links_count: int
    status: StatusMessage

    def SerializeToString(self) -> bytes: ...


class LogMessage(Protocol):
    time_unix_nano: int
    observed_time_unix_nano: int
    event_name: str
    body: AnyValueMessage
    attributes: Attributes
    trace_id: bytes
    span_id: bytes

    def SerializeToString(self) -> bytes: ...


class ScopeItems(Protocol):
    scope: bytes
    items: Sequence[Any]  # of SpanMessage, LogMessage or bytes: the class parsed with says which


class ResourceItems(Protocol):
    resource: bytes
    scopes: Sequence[ScopeItems]


class Payload(Protocol):
    resources: Sequence[ResourceItems]


class Poll(Protocol):
    payloads: Sequence[Payload]


T = TypeVar("T", covariant=True)


class Parser(Protocol[T]):
    """A message class as far as it is used."""

    def FromString(self, serialized: bytes, /) -> T: ...


def _file(package: str, tables: Sequence[dict[str, tuple[str, ...]]], text: bool) -> DescriptorPool:
    """A pool with these messages; without `text`, strings are bytes and maps are lists."""
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for table in tables:
        for message_name, fields in table.items():
            message = file.message_type.add(name=message_name)
            if message_name == "AnyValue":
                message.oneof_decl.add(name="value")
            for line in fields:
                number, name, kind = line.split()
                field = message.field.add(name=name, number=int(number))
                if message_name == "AnyValue":
                    field.oneof_index = 0
                repeated = kind.startswith("*") or kind == "attributes"
                field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
                kind = kind.removeprefix("*")
                if kind in _TYPES:
                    field.type = _TYPES["bytes" if kind == "string" and not text else kind]
                    continue
                field.type = field.TYPE_MESSAGE
                if kind == "attributes" and text:
                    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
                    entry.options.map_entry = True
                    entry.field.add(
                        name="key", number=1, type=_TYPES["string"], label=field.LABEL_OPTIONAL
                    )
                    entry.field.add(
                        name="value",
                        number=2,
                        type=field.TYPE_MESSAGE,
                        label=field.LABEL_OPTIONAL,
                        type_name=f".{package}.AnyValue",
                    )
                    field.type_name = f".{package}.{message_name}.{entry.name}"
                else:
                    name = "KeyValue" if kind == "attributes" else kind
                    field.type_name = f".{package}.{name}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_TEXT = _file("telltale.otlp", (_COMMON, _PARSED, _ENVELOPE), text=True)
_BYTES = _file("telltale.otlp.unchecked", (_COMMON,), text=False)


def _class(name: str, pool: DescriptorPool = _TEXT, package: str = "telltale.otlp") -> object:
    return GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


POLL_OF_TRACES = cast("Parser[Poll]", _class("PollOfTraces"))
POLL_OF_LOGS = cast("Parser[Poll]", _class("PollOfLogs"))
ENVELOPE = cast("Parser[Payload]", _class("Envelope"))
RESOURCE = cast("Parser[ResourceMessage]", _class("Resource"))
SCOPE = cast("Parser[ScopeMessage]", _class("Scope"))
SPAN = cast("Parser[SpanMessage]", _class("Span"))
LOG_RECORD = cast("Parser[LogMessage]", _class("LogRecord"))
UNCHECKED = {
    name: cast("Parser[Message]", _class(name, _BYTES, "telltale.otlp.unchecked"))
    for name in ("Resource", "Scope", "Span", "LogRecord")
}
BINARY_FIELDS = frozenset({"trace_id", "span_id", "parent_span_id", "bytes_value"})
"""Fields of the unchecked classes whose bytes are not text."""
