"""What is known about one call: parsed lazily, once, for every rule that asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.trajectory import Call
from detectors.parsing.arguments import Leaf, Target, leaves, targets_of, url_target
from detectors.parsing.names import says_verb
from detectors.parsing.verbs import IDLE, READS
from detectors.parsing.vocabulary import vocabulary
from detectors.rules.disclosure import disclosed
from detectors.rules.execution import Parsed, parse_call
from detectors.taint import Origins, canonical
from detectors.toolmap import Semantics, ToolMap

_DENIED: Final = re.compile(
    r"permission denied|access (?:is )?denied|\b40[13]\b|forbidden|unauthori[sz]ed"
    r"|not (?:allowed|permitted|authori[sz]ed)"
    r"|operation not permitted|requires? (?:approval|confirmation)|approval required|blocked by"
    r"|policy violation"
    r"|insufficient (?:permissions?|privileges?|scope)|accessdenied|read-only file system|sandbox",
    re.IGNORECASE,
)
_DENIED_LINE: Final = re.compile(
    r"^[^\n]{0,200}: (?:permission denied|operation not permitted|access is denied"
    r"|read-only file system)\s*$"
    r"|^[^\n]{0,80}\(accessdenied\)",
    re.MULTILINE,
)
_MAX_OUTPUT: Final = 4_000

_KEY_SHAPES: Final = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bghp_\w{30,}|\bgithub_pat_\w{20,}"
    r"|\bsk-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
)
_MARK: Final = r"\[\[secret:[^\[\]\s]{4,160}\]\]"
_KEY_MARK: Final = (
    r"\[\[secret:(?!(?:password|token|cookie|url_password|sshpass_password|curl_password|bearer"
    r"|authorization|query_signature):)[^\[\]\s]{4,160}\]\]"
)
"""Redaction's mark of what `_KEY_SHAPES` would have found in plain text, and not of what it found
behind a word like `token=`: labels must not depend on whether redaction is on.
"""
_KEY_SIGNS: Final = (
    "private key",
    "akia",
    "ghp_",
    "github_pat_",
    "sk-",
    "xox",
    "aiza",
    "eyj",
    "[[secret:",
)
"""One of these stands in every text that `_KEY` matches."""
_KEY: Final = re.compile(rf"{_KEY_SHAPES}|{_KEY_MARK}", re.IGNORECASE)
_SECRET: Final = re.compile(
    rf"{_KEY_SHAPES}|{_MARK}|\b(?:password|passwd|secret|api_?key|access_?token|private_?key)\b[\"']?"
    r"\s*[:=]\s*[\"']?[^\s\"'{}]{6,}",
    re.IGNORECASE,
)
"""Keys, and what stands behind `password:`; only in what an agent sends, results are full of it."""
_FAILED: Final = frozenset({"error", "denied", "unknown_tool", "invalid_arguments"})
_HIDDEN: Final = frozenset({"absent", "redacted", "truncated", "invalid"})
_MAX_VALUES: Final = 24
_LEAST_VALUE: Final = 5
_SPECIFIC: Final = 120
"""Longer argument values are content, not something an instruction would name."""
_DULL_NAMES: Final = vocabulary(
    "date start_time end_time start_date end_date time timestamp limit page offset format"
    " type mode language currency amount quantity count n"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call's targets came from. `modifiers`: of `conditions.PROVENANCES`. `target`: the one
    that made them so, "" where none did.
    """

    modifiers: frozenset[str]
    target: str


class Facts:
    """One call of a trajectory, and lazily what it means. `index`: its place in `trail`.

    `repeated`: an equal call came before; `keys`: its trigger keys; whoever walks the trajectory
    sets both. `first`: the first call that does anything; `acted`: it or one before did. `runs`:
    executes what its arguments say.
    """

    __slots__ = (
        "_denied",
        "_digest",
        "_disclosed",
        "_hidden",
        "_parsed",
        "_provenance",
        "_targets",
        "acted",
        "call",
        "denied_before",
        "failed",
        "failed_before",
        "first",
        "index",
        "keys",
        "leaves",
        "origins",
        "repeated",
        "runs",
        "semantics",
        "trail",
    )

    def __init__(
        self,
        call: Call,
        index: int,
        trail: Sequence["Facts"],
        origins: Origins,
        semantics: Semantics,
        found: list[Leaf],
    ) -> None:
        self.call = call
        self.index = index
        self.trail = trail
        self.origins = origins
        self.semantics = semantics
        self.leaves = found
        self.failed = call.outcome in _FAILED
        self._denied: bool | None = None
        self._hidden: bool | None = None
        last = trail[index - 1] if index else None
        self.failed_before: bool = last is not None and (last.failed or last.failed_before)
        self.denied_before: bool = last is not None and (last.denied or last.denied_before)
        idle = semantics.act in IDLE
        acted: bool = last is not None and last.acted
        self.acted: bool = acted or not idle
        self.first = not idle and not acted
        self.runs = semantics.act == "execute"
        self.repeated = False
        self.keys: frozenset[str] = frozenset()
        self._provenance: Origin | None = None
        self._targets: tuple[Target, ...] | None = None
        self._parsed: Parsed | None = None
        self._digest: tuple[str, bytes] | None = None
        self._disclosed: str | None = None

    @property
    def act(self) -> str:
        return self.semantics.act

    @property
    def history(self) -> Sequence["Facts"]:
        """The calls before this one, in order."""
        return self.trail[: self.index]

    @property
    def hidden(self) -> bool:
        """Whether arguments that a decision may need were not seen in full."""
        if self._hidden is None:
            self._hidden = self.call.arguments_state in _HIDDEN or any(
                text.startswith("[[digest:") for _, text in self.leaves
            )
        return self._hidden

    @property
    def targets(self) -> tuple[Target, ...]:
        """Whom or what the call acts on; what the tool map names goes first."""
        if self._targets is None:
            found = list(targets_of(self.leaves))
            named = self.semantics.targets
            if named:
                given = [leaf for leaf in self.leaves if leaf.name in named]
                first = [Target("principal", " ".join(leaf.text.lower().split())) for leaf in given]
                found = first + found
            self._targets = tuple(found)
        return self._targets

    @property
    def digest(self) -> tuple[str, bytes]:
        """Tool and canonical arguments: equal for equal calls."""
        if self._digest is None:
            self._digest = (self.call.tool, canonical(self.call.arguments))
        return self._digest

    @property
    def denied(self) -> bool:
        """Refused: by its outcome, or an error that says so."""
        if self._denied is None:
            self._denied = self._refused()
        return self._denied

    def _refused(self) -> bool:
        if self.call.outcome == "denied":
            return True
        if self.call.outcome != "error" and not self.runs:
            return False
        if self.call.outcome != "error":
            # A shell reports a refusal in its output and still returns; file contents do not count.
            return bool(_DENIED_LINE.search(self.result_text[:_MAX_OUTPUT]))
        if _DENIED.search(self.call.error[:_MAX_OUTPUT]):
            return True
        return bool(_DENIED.search(self.result_text[:_MAX_OUTPUT]))

    @property
    def result_text(self) -> str:
        """The searchable lower-case text of the result."""
        return self.origins.result(self.index)

    @property
    def result_digest(self) -> str:
        """Equal for equal results; the error stands for a result that was not seen."""
        return self.result_text or self.call.error or self.call.outcome

    @property
    def result_has_secret(self) -> bool:
        """Whether the result holds secret-shaped material, or a marker that redaction left for
        one.
        """
        return bool(self.call.result) and _has_key(self.result_text)

    @property
    def sends_secret(self) -> bool:
        """Whether an argument holds secret-shaped material, or a marker redaction left for one."""
        return any(len(text) >= 8 and _SECRET.search(text) for _, text in self.leaves)

    @property
    def disclosed(self) -> str:
        """Whom nobody named and the call carries sensitive content to, "" if nobody."""
        if self._disclosed is None:
            self._disclosed = disclosed(self)
        return self._disclosed

    @property
    def provenance(self) -> Origin:
        """Where the targets came from: the request, an earlier result (and an instruction in
        it).
        """
        if self._provenance is None:
            self._provenance = self._origin() if self.index or self.origins.request else _UNKNOWN
        return self._provenance

    def _origin(self) -> Origin:
        found: dict[str, str] = {}
        targets = list(self.targets[:_MAX_VALUES])
        if self.runs:
            targets.extend(
                Target("url", url_target(request.url))
                for request in self.parsed.requests
                if request.url
            )
        for one in targets:
            origin = self.origins.of(self.index, one)
            if origin:
                found.setdefault(origin, one.value)
        target = found.get("tainted_target") or found.get("unseen_target") or ""
        modifiers = set(found)
        if self.act not in READS or self.act == "download" or self.parsed.requests:
            values = [one.value for one in targets]
            values.extend(leaf.text for leaf in self.leaves if _specific(leaf))
            named = list(dict.fromkeys(values))[: 2 * _MAX_VALUES]
            instructed = self.origins.instructed(self.index, self.act, named)
            if instructed:
                modifiers.add("instructed_target")
                target = instructed.value
                if instructed.overrides:
                    modifiers.add("override_language")
        return Origin(frozenset(modifiers), target)

    def _names(self) -> tuple[str, ...]:
        arguments = self.call.arguments
        return tuple(arguments) if isinstance(arguments, dict) else ()

    def share(self, equal: "Facts") -> None:
        """Take over what an equal call was parsed to."""
        self.repeated = True
        self._parsed = equal.parsed

    @property
    def parsed(self) -> Parsed:
        if self._parsed is None:
            self._parsed = parse_call(self.call.tool, self.act, self.leaves, self._names())
        return self._parsed


def _specific(leaf: Leaf) -> bool:
    """Whether an argument could be what an instruction names; short ids come as targets."""
    return _LEAST_VALUE <= len(leaf.text) <= _SPECIFIC and leaf.name not in _DULL_NAMES


def _has_key(text: str) -> bool:
    """Whether lower-case `text` holds a key. Substring searches first: the pattern takes 50 us."""
    return any(sign in text for sign in _KEY_SIGNS) and bool(_KEY.search(text))


_UNKNOWN: Final = Origin(frozenset(), "")


def facts_of(
    call: Call, index: int, trail: Sequence[Facts], origins: Origins, tools: ToolMap
) -> Facts:
    """The facts of `call`, the `index`th of its trajectory. `trail`: facts by index; it may
    grow.
    """
    found = leaves(call.arguments)
    names: tuple[str, ...] = ()
    said = ""
    if isinstance(call.arguments, dict):
        names = tuple(call.arguments)
        for name, text in found:
            if says_verb(name, text):
                said = text
                break
    semantics = tools.semantics(call.tool, call.tool_description, names, said)
    return Facts(call, index, trail, origins, semantics, found)
