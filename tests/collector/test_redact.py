import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.otlp import decode
from collector.redact import Redactor
from collector.redact_finder import MARKER, Secret, SecretFinder
from collector.replay import Tally, read_payloads
from contracts.ports import Redact
from contracts.record import DeadLetter
from contracts.span import Event, LogEvent, Span, Value
from contracts.testing import ManualClock, Spans

KEY = b"0123456789abcdef0123456789abcdef"
TOKEN = "ghp" + "_" + "a1B2" * 9
MARK = r"\[\[secret:{}:([0-9a-f]{{16}})\]\]"


def span(attributes: Mapping[str, Value] | None = None, **changes: object) -> Span:
    made = Spans().span("execute_tool", attributes)
    return replace(made, **changes)  # type: ignore[arg-type]  # names checked by replace


def log(**changes: object) -> LogEvent:
    made = LogEvent("event", "", "", 1, "", {}, {}, None, "d", "replay", 1)
    return replace(made, **changes)  # type: ignore[arg-type]  # names checked by replace


def value(redactor: Redact, content: Value, key: str = "k") -> Value:
    return redactor.span(span({key: content})).attributes[key]


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(KEY)


def test_a_clean_span_comes_back_as_it_is(redactor: Redactor) -> None:
    clean = span({"a": "cat ~/.aws/credentials", "n": 5, "list": ["x", {"y": 1.5}], "none": None})
    assert redactor.span(clean) is clean
    assert redactor.errors == 0


def test_secrets_are_replaced_wherever_text_stands(redactor: Redactor) -> None:
    redacted = redactor.span(
        span(
            {
                "text": f"use {TOKEN}, please",
                "json": '{"note": "' + TOKEN + '"}',
                "list": ["x", TOKEN, {"deep": [TOKEN]}],
                "map": {"inner": TOKEN},
                "bytes": TOKEN.encode(),
                "number": 7,
            },
            name=f"call {TOKEN}",
            status_message=f"failed with {TOKEN}",
            resource={"service.name": "s", "process.command_line": f"run {TOKEN}"},
            events=(Event(f"event {TOKEN}", 3, {"exception.message": TOKEN}),),
        )
    )
    assert TOKEN not in repr(redacted)
    digits = set(re.findall(MARK.format("github"), repr(redacted)))
    assert len(digits) == 1, "the same secret has the same digits everywhere"
    assert re.fullmatch(f"use {MARK.format('github')}, please", str(redacted.attributes["text"]))
    assert redacted.attributes["number"] == 7
    assert redacted.events[0].time_ns == 3
    assert redacted.flags == ("redacted",)


def test_digits_depend_on_secret_and_key_alone() -> None:
    one, other = Redactor(KEY), Redactor(KEY[::-1])
    hidden = [
        re.findall(MARK.format("[a-z_]+"), str(value(r, text)))
        for r, text in (
            (one, "password=hunter2"),
            (one, '{"password": "hunter2"}'),
            (one, "https://bot:hunter2@x.example"),
            (one, "password=hunter3"),
            (other, "password=hunter2"),
        )
    ]
    assert hidden[0] == hidden[1] == hidden[2]
    assert len({tuple(digits) for digits in hidden}) == 3


def test_values_of_telling_keys_are_secrets(redactor: Redactor) -> None:
    redacted = redactor.span(
        span(
            {
                "password": "hunter2",
                "db": {"password": "hunter3", "passwords": {"password": ["hunter4"]}},
                "api_key": "9f8e7d6c5b4a",
                "http.request.header.authorization": "Bearer x.y",
                "token": "page-2",
                "credentials": "~/.aws/credentials",
                "gen_ai.usage.token": 5,
                "secret": {"type": "string"},
            }
        )
    )
    text = repr(redacted.attributes)
    assert not re.search(r"hunter|9f8e7d6c5b4a|x\.y", text)
    assert redacted.attributes["token"] == "page-2"
    assert redacted.attributes["credentials"] == "~/.aws/credentials"
    assert redacted.attributes["gen_ai.usage.token"] == 5
    assert redacted.attributes["secret"] == {"type": "string"}


def test_logs(redactor: Redactor) -> None:
    clean = log(body={"tool": "Bash"}, attributes={"tool_input": "ls"})
    assert redactor.log(clean) is clean
    redacted = redactor.log(
        log(
            name=TOKEN,
            body={"cmd": f"echo {TOKEN}"},
            attributes={"tool_input": TOKEN},
            resource={"r": TOKEN},
        )
    )
    assert TOKEN not in repr(redacted)
    assert redacted.digest != "d"
    assert TOKEN not in repr(redactor.log(log(body=TOKEN)))


def test_dead_letters(redactor: Redactor) -> None:
    letter = DeadLetter("invalid_json", "why", b'{"x": 1', 7, "replay", 1)
    assert redactor.dead_letter(letter) is letter
    secret = replace(letter, head=b"\xff{" + TOKEN.encode() + b'" password=hunter2')
    head = redactor.dead_letter(secret).head
    assert head.startswith(b"\xff{[[secret:github:")
    assert b"hunter2" not in head
    assert len(redactor.dead_letter(replace(letter, head=b"password=hunter2 " * 30)).head) <= 512
    assert Redactor(KEY, arguments="digest").dead_letter(letter).head == b""


def test_the_digest_of_a_redacted_span_is_keyed_and_still_tells_spans_apart() -> None:
    secrets = [span({"password": p}) for p in ("hunter2", "hunter3", "hunter2")]
    digests = [Redactor(KEY).span(s).digest for s in secrets]
    assert digests[0] == digests[2] != digests[1]
    assert not {s.digest for s in secrets} & set(digests)
    assert Redactor(KEY[::-1]).span(secrets[0]).digest != digests[0]
    clean = span({"a": "b"})
    assert Redactor(KEY).span(clean).digest == clean.digest


def test_a_shared_resource_is_looked_at_once_and_shared_again(redactor: Redactor) -> None:
    resource = {"cmd": TOKEN}
    first, second = (redactor.span(span(resource=resource)) for _ in range(2))
    assert first.resource is second.resource
    assert TOKEN not in repr(first)
    other = {"service.name": "s"}
    assert redactor.span(span(resource=other)).resource == other


class Broken(SecretFinder):
    def holds(self, text: bytes) -> bool:
        if b"poison" in text:
            raise RuntimeError(f"cannot search {text!r}")
        return super().holds(text)

    def find(self, text: bytes) -> Sequence[Secret]:
        self.holds(text)
        return super().find(text)


def test_an_error_replaces_every_text() -> None:
    redactor = Redactor(KEY, finder=Broken())
    poisoned: dict[str, Value] = {"a": "poison", "b": ["secret text"], "c": 5, "d": b"raw", "e": ""}
    redacted = redactor.span(
        span(poisoned, status_message="m", events=(Event("e", 1, {"x": "secret text"}),))
    )
    for text in ("poison", "secret text", "raw", "execute_tool", "svc"):
        assert text not in repr(redacted)
    assert redacted.attributes["c"] == 5
    assert redacted.attributes["e"] == ""
    assert redacted.flags == ("redacted",)
    assert (redactor.errors, redactor.last_error) == (1, "RuntimeError")
    assert "poison" not in repr(redactor.log(log(body={"x": ["poison"]})))
    assert "poison" not in repr(redactor.log(replace(log(body="poison"), name="poison")))
    letter = DeadLetter("invalid_json", "why", b"poison", 6, "replay", 1)
    assert redactor.dead_letter(letter).head == b""
    assert redactor.errors == 4
    clean = span({"a": "fine"})
    assert redactor.span(clean) is clean


def test_nesting_beyond_what_python_can_walk_is_replaced(redactor: Redactor) -> None:
    deep: Value = TOKEN
    for _ in range(5_000):
        deep = [deep]
    redacted = redactor.span(replace(span(), attributes={"deep": deep, "plain": "text"}))
    assert TOKEN not in repr(redacted)
    assert redacted.attributes["plain"] != "text"
    assert redactor.last_error == "RecursionError"


def test_off_changes_nothing() -> None:
    secret = span({"password": "hunter2"})
    off = Redactor(KEY, secrets=False)
    assert off.span(secret) is secret
    letter = DeadLetter("invalid_json", "why", TOKEN.encode(), 6, "replay", 1)
    assert off.dead_letter(letter) is letter
    assert off.log(log(body=TOKEN)).body == TOKEN


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Redactor(b"short")


def test_names_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.redact.KEYS_KNOWN", 10)
    redactor = Redactor(KEY)
    for number in range(100):
        key = f"key{number}"
        assert value(redactor, "hunter2", f"{key}.password") != "hunter2"
        assert value(redactor, "text", key) == "text"


FRAGMENTS = st.sampled_from(
    [
        "password=",
        "token: ",
        '"secret": "',
        "https://a:",
        "@x.example",
        "Bearer ",
        "Cookie: a=",
        "hunter2",
        TOKEN,
        "[[secret:github:0123456789abcdef]]",
        "[[secret:",
        "]]",
        "\\n",
        "\n",
        '"',
        "\\",
        " ",
        "9f8e7d6c5b4a3928",
        "ü",
        "-----BEGIN PRIVATE KEY-----",
        "abcdefghijklmnopqrstuvwxyz012345",
    ]
)


@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=5)), max_size=12).map("".join))
def test_redacting_again_changes_nothing(text: str) -> None:
    redactor = Redactor(KEY)
    once = value(redactor, text)
    assert value(redactor, once) == once
    assert redactor.errors == 0


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=20)
        | st.binary(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_value_keeps_its_structure(content: Value) -> None:
    for redactor in (Redactor(KEY), Redactor(KEY, arguments="digest")):
        redacted = redactor.span(span({"k": content})).attributes["k"]
        assert redactor.errors == 0
        assert redactor.span(span({"k": redacted})).attributes["k"] == redacted
    assert shape(value(Redactor(KEY), content)) == shape(content)


def shape(content: Value) -> object:
    if isinstance(content, list):
        return [shape(item) for item in content]
    if isinstance(content, dict):
        return {key: shape(item) for key, item in content.items()}
    return type(content).__name__


def test_the_marker_is_the_finders() -> None:
    text = str(value(Redactor(KEY), "password=hunter2"))
    assert re.fullmatch(MARKER, text.removeprefix("password=").encode())


SHARED = Path(__file__).parents[3] / "shared" / "spans"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no captured spans beside the repository")
def test_captured_spans_hold_no_secret_and_stay() -> None:
    redactor = Redactor(KEY)
    records = list(read_payloads([SHARED], ManualClock(), Tally()))
    spans = [span for decoded in decode(records) for span in decoded.spans]
    assert len(spans) > 1000
    assert all(redactor.span(span) is span for span in spans)
    assert redactor.errors == 0
