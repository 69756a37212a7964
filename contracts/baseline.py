"""References: frozen behaviour to compare with, and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from contracts.span import Value

ReferenceKind = Literal["teacher", "base", "control", "previous", "declared", "fleet"]
REFERENCE_KINDS: tuple[str, ...] = get_args(ReferenceKind)


@dataclass(frozen=True, slots=True)
class BaselineInfo:
    """A baseline's manifest as the registry lists it; a row of the view `baselines`.

    `digest`: hex SHA-256 of the canonical manifest, the baseline's content address. `where`: the
    SQL condition it was fitted on. `trajectories_digest`: SHA-256 over the sorted trajectory ids.
    `subjects`: subject labels seen in the fitting data. `active_for`: glob on subject labels for
    which the daemon judges against it, "" when it is not promoted. `path`: folder of the artefact's
    files.
    """

    name: str
    kind: ReferenceKind
    digest: str
    where: str
    trajectories: int
    calls: int
    trajectories_digest: str
    created_ns: int
    subjects: tuple[str, ...]
    active_for: str
    path: str
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class LineageEntry:
    """One fact about a model: `relation` is `teacher`, `base`, `dataset`, `filter`, `audit` or
    `note`.
    """

    model: str
    relation: str
    value: str
    digest: str
    recorded_ns: int
    detail: Mapping[str, Value] = field(default_factory=dict[str, Value])
