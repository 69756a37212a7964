"""What redaction costs: `python benchmarks/redact.py [FOLDER]`.

Made spans of about 2 kB (clean, with harmless mentions of keywords, with secrets) in microseconds
and MB/s beside copying the same spans' text, the floor of any redaction; then hostile texts of 64
KiB in milliseconds; then, given a folder of OTLP payloads, their spans: time and what was replaced.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from collector.otlp import decode
from collector.redact import Redactor
from collector.redact_finder import SecretFinder
from collector.redact_rules import RULES
from collector.replay import Tally, read_payloads
from contracts.clock import SystemClock
from contracts.span import Span, Value
from contracts.testing import Spans

KEY = bytes(range(32))
ROUNDS = 7
KIB = 1024

PROSE = (
    "The customer asks for a refund of order 4711-22. I looked it up: it was paid on 2026-03-02 by "
    "card, sent to Example Street 5, and came back damaged. "
)
MENTIONS = (
    'Set "max_tokens": 512 and read https://docs.example.com/auth?page=2 on token refresh; the '
    "file ~/.aws/credentials is off limits, and password rules are in /etc/security/pwquality. "
)
SECRETS = (
    'export DB_PASSWORD=hunter2swordfish; curl -H "Authorization: Bearer 0a1b2c3d4e5f60718293" '
    "https://bot:s3cr3tpass@git.example.com/repo.git && echo ghp_" + "a1B2" * 9 + " "
)


def span(text: str) -> Span:
    """A tool span of about 2 kB around `text`."""
    body = (text * (900 // len(text) + 1))[:900]
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup_order",
        "gen_ai.tool.call.id": "call_7f3a9d52c1",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "support-agent",
        "gen_ai.conversation.id": "0b6ce1f4-6f0e-4c62-9f5f-8a4f1f1f0c11",
        "gen_ai.request.model": "acme-student-8b",
        "gen_ai.usage.input_tokens": 1234,
        "gen_ai.usage.output_tokens": 56,
        "gen_ai.tool.call.arguments": '{"order_id": "4711-22", "note": "' + body + '"}',
        "gen_ai.tool.call.result": '{"status": "ok", "text": "' + body + '"}',
        "user.id": "user-0815",
        "session.id": "s-20260302-11",
    }
    resource: dict[str, Value] = {
        "service.name": "support",
        "service.version": "1.2.3",
        "telemetry.sdk.name": "opentelemetry",
        "k8s.pod.name": "support-7c9d8b6f5-x2x4z",
    }
    return Spans().span("execute_tool lookup_order", attributes, resource=resource)


def size_bytes(spans: Sequence[Span]) -> int:
    """Bytes of text in names and attributes, nested ones as they print."""
    return sum(
        len(s.name.encode()) + sum(len(str(v).encode()) for v in s.attributes.values())
        for s in spans
    )


def seconds(work: Callable[[], object]) -> float:
    """Processor time, median of `ROUNDS` runs: other work may share the machine."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def report(name: str, spans: Sequence[Span]) -> None:
    redactor = Redactor(KEY)
    shapes = Redactor(KEY, arguments="digest")
    size = size_bytes(spans)
    copied = seconds(lambda: ["\0".join(map(str, s.attributes.values())).encode() for s in spans])
    redacted = seconds(lambda: [redactor.span(s) for s in spans])
    digested = seconds(lambda: [shapes.span(s) for s in spans])
    each = 1e6 / len(spans)
    if redactor.errors or shapes.errors:
        raise SystemExit(f"{name}: a rule failed ({redactor.last_error or shapes.last_error})")
    changed = sum(redactor.span(s) is not s for s in spans)
    print(
        f"{name:34s} {size / len(spans):8.0f} B/span  copy 1.00 ({copied * each:6.2f} us)  "
        f"secrets {redacted / copied:5.2f} ({redacted * each:6.2f} us, "
        f"{size / redacted / 1e6:6.1f} MB/s)  digest {digested / copied:5.2f} "
        f"({digested * each:6.2f} us)  changed {changed}/{len(spans)}"
    )


def hostile() -> dict[str, bytes]:
    """64 KiB texts that make careless patterns slow: every fragment of every rule repeated bare and
    with what a match needs next, and long runs of what quantifiers eat.
    """
    fragments = {f for rule in RULES for f in re.findall(r"[A-Za-z0-9_:/?=-]{3,}", rule.pattern)}
    literals = sorted(fragment.encode() for fragment in fragments)
    words = (b"password", b"token", b"api_key", b"authorization", b"cookie", b"curl", b"bearer")
    texts = {f"repeated {literal.decode()!r}": literal for literal in literals}
    for word in words:
        for tail in (b"=", b": ", b'": "', b"='", b" is ", b" ", b'\\": \\"', b"=(", b"-", b"[["):
            texts[f"repeated {(word + tail).decode()!r}"] = word + tail
    texts["eyJ runs"] = b"eyJ" + b"a" * 200 + b"."
    texts["PEM begins"] = b"-----BEGIN PRIVATE KEY-----"
    texts["PEM begins and lines"] = b"-----BEGIN PRIVATE KEY-----\nabcdefghijklmnopqrstuvwxyz\n"
    texts["URL user parts"] = b"://a:b"
    texts["curl options"] = b"curl -u a -u b --user c "
    texts["flags"] = b"--password-" + b"-" * 30
    texts["backslashes"] = b'token\\\\\\\\\\\\\\"=\\\\\\\\\\\\\\"'
    whole = {name: (text * (64 * KIB // len(text) + 1))[: 64 * KIB] for name, text in texts.items()}
    for name, run in (("letters", b"a"), ("digits", b"1"), ("quotes", b'"'), ("spaces", b" ")):
        for word in (b"password=", b"sk-", b"://", b"Bearer ", b"eyJ", b"curl -u "):
            whole[f"{word.decode()!r} and {name}"] = word + run * (64 * KIB - len(word))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="OTLP payloads to redact as well")
    folder: Path | None = parser.parse_args().folder

    report("made, clean", [span(PROSE)] * 2000)
    report("made, clean, not ASCII", [span(PROSE.replace("a", "ä"))] * 2000)
    report("made, keywords mentioned", [span(MENTIONS)] * 1000)
    report("made, secrets", [span(SECRETS)] * 300)

    finder = SecretFinder()
    taken_s = {name: seconds(partial(finder.find, text)) for name, text in hostile().items()}
    print(f"\nhostile, {len(taken_s)} texts of 64 KiB, slowest:")
    for name, taken in sorted(taken_s.items(), key=lambda item: -item[1])[:8]:
        print(f"  {taken * 1e3:6.2f} ms  {name}")

    if folder is not None:
        records = list(read_payloads([folder], SystemClock(), Tally()))
        spans = [s for decoded in decode(records) for s in decoded.spans]
        print()
        report(str(folder), spans)


if __name__ == "__main__":
    main()
