"""Leaves of a call's arguments, and the targets among them.

A target is whom or what a call acts on: (kind, normalised value), kind of `KINDS`. It is told from
the argument's name and from the shape of its value, never from a tool's name, and is the same for a
value that redaction replaced by a digest `[[secret:...]]`.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from contracts.span import Value
from detectors.parsing.vocabulary import vocabulary

TargetKind = Literal["recipient", "account", "url", "host", "path", "table", "principal", "id"]

MAX_LEAVES: Final = 400
MAX_DEPTH: Final = 12
MAX_TEXT: Final = 100_000
"""Bounds on what of one call's arguments is looked at."""

MARKER: Final = re.compile(r"\[\[(secret|digest):[^\[\]\s]{4,160}\]\]")
"""What keyed redaction leaves in the place of a value; equal values leave equal markers."""
EMAIL: Final = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
IBAN: Final = re.compile(r"^[A-Z]{2}\d{2}[A-Z0-9]{6,30}$")
WALLET: Final = re.compile(
    r"^(?:0x[0-9a-fA-F]{40}|bc1[0-9a-z]{20,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})$"
)
PHONE: Final = re.compile(r"^\+?\d[\d ().-]{6,18}\d$")
URL: Final = re.compile(r"^[a-z][a-z0-9+.-]{1,20}://\S+$", re.IGNORECASE)
BARE_HOST: Final = re.compile(
    r"^(?:www\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,18}(?:[:/?]\S*)?$", re.I
)

_KIND_NAMES: Final[tuple[tuple[TargetKind, str], ...]] = (
    (
        "recipient",
        "to cc bcc recipient recipients email emails email_address to_email participant"
        " participants attendee attendees invitee invitees guests channel channels channel_name"
        " phone phone_number recipient_id receiver send_to user_email chat_id mention number"
        " to_number recipient_name recipient_email audience address_to dest_email contact",
    ),
    (
        "account",
        "iban account account_number payee payee_id beneficiary wallet wallet_address"
        " to_account destination_account recipient_account account_id bank_account vendor"
        " merchant payment_method_id payment_id to_address recipient_address receiver_address",
    ),
    (
        "url",
        "url uri link endpoint webhook webhook_url href website site page_url callback_url"
        " destination_url",
    ),
    ("host", "host hostname domain server ip ip_address"),
    (
        "path",
        "path file filename file_name filepath file_path dir directory folder folder_path"
        " dir_path source destination src dst target_path notebook_path root old_path new_path"
        " bucket key_prefix",
    ),
    ("table", "table table_name collection dataset index database schema"),
    (
        "principal",
        "user username user_name principal role member grantee group owner assignee repo"
        " repository project namespace organization org tenant subject_id user_to_invite",
    ),
)
_NAME_KINDS: Final[dict[str, TargetKind]] = {
    name: kind for kind, names in _KIND_NAMES for name in names.split()
}
_DIGEST_KINDS: Final[dict[str, TargetKind]] = {
    "email]]": "recipient",
    "url]]": "url",
    "path]]": "path",
}
"""What the class that a digest carries says of the value."""
_FREE_TEXT: Final = vocabulary(
    "body content text message subject title description query summary note thought"
    " prompt reason html markdown caption comment code command script sql new_str old_str"
    " file_text"
)


class Leaf(NamedTuple):
    """One scalar of the arguments. `name`: its nearest key, lower case."""

    name: str
    text: str


class Target(NamedTuple):
    """Whom or what a call acts on. `value`: normalised; equal targets have equal values."""

    kind: TargetKind
    value: str


def leaves(value: Value, name: str = "") -> list[Leaf]:
    """The scalars of decoded arguments in order, at most `MAX_LEAVES`; None and bytes left out."""
    found: list[Leaf] = []
    _collect(value, name, 0, found)
    return found


def _collect(value: Value, name: str, depth: int, found: list[Leaf]) -> None:
    if len(found) >= MAX_LEAVES or depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        if value:
            found.append(Leaf(name, value if len(value) <= MAX_TEXT else value[:MAX_TEXT]))
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(item, key.lower(), depth + 1, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, name, depth + 1, found)
    elif isinstance(value, bool | int | float):
        found.append(Leaf(name, str(value)))


def is_digest(text: str) -> bool:
    """Whether `text` is what redaction left of a whole value."""
    return text.startswith("[[digest:") and MARKER.fullmatch(text) is not None


def url_target(text: str) -> str:
    """Host and path of a URL, lower-case host, without scheme, query, fragment, credentials."""
    try:
        parts = urlsplit(text if "://" in text else "//" + text)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return text.strip().lower()
    return host + parts.path.rstrip("/")


def host_of(text: str) -> str:
    """Lower-case host of a URL or bare host, "" where there is none."""
    try:
        return (urlsplit(text if "://" in text else "//" + text).hostname or "").lower()
    except ValueError:
        return ""


def normalise(kind: TargetKind, text: str) -> str:
    """The form in which two spellings of one target are equal."""
    text = text.strip()
    if text.startswith("[[") and MARKER.fullmatch(text):
        return text.lower()
    if kind == "url":
        return url_target(text)
    if kind == "account":
        return "".join(text.split()).upper()
    if kind == "path":
        return text.replace("\\", "/").rstrip("/") or "/"
    return " ".join(text.lower().split())


def _kind_of(name: str, text: str) -> TargetKind | None:
    if name in _FREE_TEXT:
        return None
    kind = _NAME_KINDS.get(name)
    if is_digest(text):
        return kind or _DIGEST_KINDS.get(text.rsplit(":", 1)[-1])
    if "@" in text and EMAIL.fullmatch(text.strip()):
        return "recipient"
    if URL.match(text):
        return "url"
    if kind is not None:
        if kind == "recipient" and IBAN.match(text.replace(" ", "")):
            return "account"
        return kind
    if WALLET.match(text) or (len(text) >= 14 and IBAN.match(text)):
        return "account"
    if name == "id" or name.endswith(("_id", "_ids", "uuid")) or name == "ids":
        return "id"
    return None


def targets_of(found: list[Leaf]) -> Iterator[Target]:
    """The targets among `leaves`, in order, repeated ones once."""
    seen: set[Target] = set()
    for name, text in found:
        if len(text) > 512:
            continue
        kind = _kind_of(name, text)
        if kind is None:
            continue
        target = Target(kind, normalise(kind, text))
        if target.value and target not in seen:
            seen.add(target)
            yield target
