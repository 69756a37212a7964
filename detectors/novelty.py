"""Whether what a call acts on was ever acted on in the reference, by the same role.

In real attacks few of the acts that succeed use a tool the model never used, but many act on a
target never seen before (`DETECTORS.md`, section 2). What cannot be told is never called known.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from contracts.trajectory import Call, Trajectory
from detectors.acted_on import FORMS, KEY_ID, Named, acted_on, digests, entry, key_id
from detectors.baseline import Reference
from detectors.features import role_of

Word = Literal["new", "known", "unknown"]
_SEEN: Final = ("object", "text")
"""States of arguments whose content was recorded whole; one that was cut may end in a target."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """`word`: `new` where one of the call's targets was never acted on in the reference by its
    role, `known` where all were, else `unknown`. `targets`: those that are new, as `kind value`.
    """

    word: Word
    targets: tuple[str, ...] = ()


_UNKNOWN: Final = Novelty("unknown")


def novelty(reference: Reference, trajectory: Trajectory, call: Call, target_key: bytes) -> Novelty:
    """The novelty of what `call` of `trajectory` acts on. `target_key`: of this data folder.

    `unknown`: a reference without targets, fitted under another key, or before it kept what shells
    act on; a role it never had; arguments that were not seen or name no target; a target of which
    only a placeholder, a variable or a pattern is written, or that is a digest where the reference
    saw its kind in the clear, or the other way round.
    """
    forms = reference.document.get(FORMS)
    role = role_of(trajectory)
    if (
        not forms
        or reference.document.get(KEY_ID) != key_id(target_key)
        or role not in reference.roles
        or call.arguments_state not in _SEEN
    ):
        return _UNKNOWN
    found = acted_on(call)
    told = [each for each in found if each.told and _comparable(each, forms)]
    if told:
        keys = digests([entry(role, each) for each in told], target_key)
        known = np.isin(keys, reference.known_targets)
        new = tuple(
            f"{each.kind} {each.value}" for each, hit in zip(told, known, strict=True) if not hit
        )
        if new:
            return Novelty("new", new)
    return Novelty("known") if told and len(told) == len(found) else _UNKNOWN


def _comparable(target: Named, forms: list[list[str]]) -> bool:
    """Whether the reference saw such targets as this one is written, or none of its kind."""
    of_kind = [form for kind, form in forms if kind == target.kind]
    return target.form in of_kind or not of_kind
