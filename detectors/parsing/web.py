"""HTTP requests told from tool arguments, command lines and Python calls."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from detectors.parsing.arguments import Leaf
from detectors.parsing.code import CodeCall
from detectors.parsing.command import Command
from detectors.parsing.vocabulary import vocabulary

_CLIENTS: Final = vocabulary(
    "curl wget httpie xh invoke-webrequest invoke-restmethod iwr irm aria2c lynx"
)
_METHODS: Final = vocabulary("get post put patch delete head options")
_BODY_OPTIONS: Final = vocabulary(
    "d data data-raw data-binary data-urlencode F form T upload-file json post-data"
    " post-file body body-data body-file infile"
)
_INSECURE: Final = frozenset({"k", "insecure", "no-check-certificate", "skipcertificatecheck"})
_BODY_NAMES: Final = vocabulary(
    "body data payload json form params_body content input_values fields files"
)
_MUTATION: Final = re.compile(r"\bmutation\b[^{]*\{\s*(?:\w+\s*:\s*)?(\w+)")
_URL_WORD: Final = re.compile(r"^(?:https?|ftp|wss?)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `method`: lower case. `sends`: carries a body. `graphql`: name of the first
    field of a GraphQL mutation, "" otherwise. `insecure`: certificate not checked.
    """

    method: str
    url: str
    host: str
    path: str
    sends: bool = False
    graphql: str = ""
    insecure: bool = False

    @property
    def bare_address(self) -> bool:
        """Whether the host is an IP address rather than a name."""
        if not self.host[-1:].isdigit() and ":" not in self.host:
            return False
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def request(
    method: str, url: str, sends: bool = False, body: str = "", insecure: bool = False
) -> HttpRequest | None:
    """The request to `url`, None where it has no host."""
    try:
        parts = urlsplit(url if "://" in url else "//" + url)
        host, path = (parts.hostname or "").lower(), parts.path
        if parts.query:
            path = f"{path}?{parts.query}"
    except ValueError:
        return None
    if not host:
        return None
    mutation = _MUTATION.search(body) if "mutation" in body else None
    return HttpRequest(
        method.lower(),
        url,
        host,
        path or "/",
        sends,
        mutation.group(1) if mutation else "",
        insecure,
    )


def requests_of_leaves(found: list[Leaf], names: Collection[str] = ()) -> list[HttpRequest]:
    """Requests that a tool with a URL argument makes; the method from an argument, else by body.

    `names`: the names of the tool's arguments, whatever they hold.
    """
    urls = [leaf.text for leaf in found if leaf.name in ("url", "uri", "endpoint", "href", "link")]
    bodies = [leaf.text for leaf in found if leaf.name in _BODY_NAMES or leaf.name == "query"]
    if not urls:
        mutations = [
            leaf.text for leaf in found if "mutation" in leaf.text[:2_000] and "{" in leaf.text
        ]
        return [
            HttpRequest("post", "", "", "", True, mutation.group(1))
            for text in mutations
            if (mutation := _MUTATION.search(text))
        ]
    method = next(
        (leaf.text.lower() for leaf in found if leaf.name in ("method", "http_method", "verb")), ""
    )
    sends = any(leaf.name in _BODY_NAMES for leaf in found) or any(
        name.lower() in _BODY_NAMES for name in names
    )
    if method not in _METHODS:
        method = "post" if sends else "get"
    made = (request(method, url, sends, " ".join(bodies)) for url in urls)
    return [item for item in made if item is not None]


def request_of_command(command: Command) -> HttpRequest | None:
    """The request of curl, wget, httpie or PowerShell's web cmdlets, None for other programs."""
    if command.program not in _CLIENTS:
        return None
    options = dict(command.options)
    url = options.get("url") or options.get("uri") or ""
    words = [word for word in command.words if word]
    if not url:
        url = next((word for word in words if _URL_WORD.match(word)), "")
    if not url:
        url = next((word for word in words if "." in word and word.lower() not in _METHODS), "")
    body = " ".join(value for name, value in command.options if name in _BODY_OPTIONS)
    sends = bool(body) or bool(command.flags & _BODY_OPTIONS)
    method = options.get("X") or options.get("request") or options.get("method") or ""
    if command.program in ("httpie", "xh") and words and words[0].lower() in _METHODS:
        method = words[0]
    if not method:
        method = "put" if command.flags & {"T", "upload-file"} else "post" if sends else "get"
    if command.flags & {"I", "head"} and not sends:
        method = "head"
    return request(method, url, sends, body or command.stdin, bool(command.flags & _INSECURE))


def request_of_code(call: CodeCall) -> HttpRequest | None:
    """The request of `requests.post(url)`, `httpx.get(url)`, `urllib...urlopen(url)`, None
    otherwise.
    """
    head, _, method = call.name.rpartition(".")
    if method == "urlopen" or method == "urlretrieve":
        method = "get"
    elif method not in _METHODS or not re.search(
        r"requests|httpx|session|client|aiohttp|http", head, re.I
    ):
        return None
    url = next((word for word in call.words if _URL_WORD.match(word)), "")
    if not url:
        return None
    sends = method in ("post", "put", "patch")
    insecure = any(word.lower() == "verify=false" for word in call.words)
    return request(method, url, sends, " ".join(call.words[1:]), insecure)
