"""Fits and freezes a reference; a baseline never learns from what it judges.

    folder, info = fit_baseline("gpt-x", "teacher", trajectories, labeller, where, settings,
    progress) reference = Reference.load(folder) acts, orders = reference.opportunities(encoded)

Targets are kept as keyed digests (BLAKE2b-64) only, trajectory ids as digests, so that an artefact
neither names whom an agent wrote to nor lets a student be judged by its own trajectories unnoticed.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from contracts.baseline import BaselineInfo, ReferenceKind
from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.ports import Labeller
from contracts.trajectory import Trajectory
from detectors import allowance, artefact, shape
from detectors.acted_on import FORMS, KEY_ID, Digests, KnownTargets, digests, key_id
from detectors.features import ORDERS, STREAM_CATEGORY, STREAMS, TRACKS, Encoded, encode, role_of
from detectors.hazard import RUNGS, TENSORS, Floats, Hazard
from detectors.roles import widened
from detectors.sequential import MOST_CONTEXTS, NO_CONTEXT, Opportunities, Settings
from detectors.unforeseen import KEY as UNFORESEEN_ACTS
from detectors.unforeseen import Tally
from detectors.upper_hazard import Calibration, calibrate, ceiling

if TYPE_CHECKING:  # torch takes seconds and hundreds of megabytes; only a fit needs it
    from detectors.train import TrainSettings

FEWEST: Final = 4
"""Trajectories below which nothing can be cross-fitted."""
_DIGESTED: Final = ("trajectory_ids", "targets", "tools")
"""Tensors of digests."""
_CATEGORY: Final = np.asarray(STREAM_CATEGORY, np.int64)
Progress = Callable[[str, float], None]
_SHAPES: Final = "shapes"
_SEED: Final = 0
"""Of the draws that are frozen: the same trajectories give the same artefact."""
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`parent`: folder under which the baseline's own folder is made. `created_ns`: the time of the
    fit. `target_key`: keys the digests of targets; the same key is needed to recognise them.
    `ceilings`: category to rate per opportunity, for kind `declared`. `clusters`: trajectory id to
    what it depends on (a user, a day). `train`: None takes the defaults.
    """

    parent: Path
    created_ns: int
    rules_digest: str = ""
    target_key: bytes = b""
    ceilings: Mapping[str, float] = field(default_factory=dict[str, float])
    tests: Settings = field(default_factory=Settings)
    train: "TrainSettings | None" = None
    lineage: Sequence[Mapping[str, str]] = ()
    clusters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Reference:
    """A loaded baseline. `hazard`: None for a declared one. `calibrations`: one per track.

    `roles`: context id per role; those past the twelfth share the last id. `tools`: digests of the
    names of the tools that were called in it. `shapes`: vectors of trajectories drawn from it
    (`shape.sample`).
    """

    info: BaselineInfo
    hazard: Hazard | None
    calibrations: tuple[Calibration, ...]
    roles: Mapping[str, int]
    trajectory_ids: Digests
    known_targets: Digests
    tools: frozenset[int]
    shapes: Floats
    document: Mapping[str, Any]

    @classmethod
    def load(
        cls,
        folder: Path,
        trusted: Sequence[bytes] = (),
        expected_digest: str = "",
        active_for: str = "",
    ) -> "Reference":
        """A frozen baseline, verified. Raises `BaselineError`."""
        read = artefact.load(folder, trusted, expected_digest)
        document, tensors = read.document, read.tensors
        try:
            calibrations = tuple(
                Calibration.from_json(document["calibration"][track]) for track in TRACKS
            )
            roles = {str(role): int(number) for role, number in document["roles"].items()}
            rung = str(document["rung"])
            ids, known, tools = (tensors[name] for name in _DIGESTED)
            shapes = tensors[_SHAPES].astype(np.float64).reshape(-1, shape.WIDTH)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BaselineError(f"{artefact.DOCUMENT} is not a baseline's: {error}") from error
        if any(each.dtype != np.uint64 or each.ndim != 1 for each in (ids, known, tools)):
            raise BaselineError(f"{artefact.WEIGHTS} holds digests of another type")
        if rung and rung not in RUNGS:
            raise BaselineError(f"{artefact.DOCUMENT}: {rung!r} is no rung of the ladder")
        hazard = None
        if rung in RUNGS:
            parts = {name: tensors[name] for name in TENSORS[rung] if name in tensors}
            hazard = Hazard(rung, parts)
        return cls(
            read.info(active_for), hazard, calibrations, roles, ids, known,
            frozenset(tools.tolist()), shapes, document,
        )  # fmt: skip

    @property
    def ceilings(self) -> Mapping[str, float]:
        """Declared rates per opportunity, by category; empty unless declared."""
        return cast("Mapping[str, float]", self.document.get("ceilings", {}))

    def opportunities(self, encoded: Encoded, from_step: int = 0) -> tuple[Opportunities, ...]:
        """What one trajectory adds from `from_step` on, per track; what came before is consumed."""
        return self.many([encoded], [from_step])[0]

    def many(
        self, encoded: Sequence[Encoded], from_steps: Sequence[int]
    ) -> list[tuple[Opportunities, ...]]:
        """`opportunities` of each trajectory; their hazards are computed together."""
        if self.hazard is None:
            hazards: list[Floats] = [np.zeros(len(each)) for each in encoded]
        else:
            hazards = self.hazard.many(encoded)
        none = 0 if self.hazard is None else NO_CONTEXT
        return [
            _tracks(each, hazard, self.roles.get(each.role, none), start)
            for each, hazard, start in zip(encoded, hazards, from_steps, strict=True)
        ]

    def doubtful(self, trajectory: Trajectory, encoded: Encoded, from_step: int = 0) -> Integers:
        """How many opportunities of each stream speak for no `clear`, (STREAMS,): with tools that
        the reference never called, and all of a trajectory in which the time of a call is missing
        or contradicts its causes, so that what led to them is not known.
        """
        if self.hazard is None:
            return np.zeros(STREAMS, np.int64)
        calls = trajectory.calls
        disordered = any(call.started_ns <= 0 or call.duration_ns < 0 for call in calls)
        unknown = np.array(
            [disordered or _digest(call.tool) not in self.tools for call in calls], np.bool_
        )
        rows = encoded.visible & (encoded.step >= from_step)
        rows &= unknown[encoded.step]
        return np.bincount(encoded.stream[rows], minlength=STREAMS)

    def fitted_on(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that the reference was fitted on."""
        every = list(ids)
        if not every or not len(self.trajectory_ids):
            return []
        known = np.isin(digests(every, b""), self.trajectory_ids)
        return [identity for identity, hit in zip(every, known, strict=True) if hit]

    def refuse_own(self, ids: Iterable[str]) -> None:
        """Raises `BaselineError` where the reference was fitted on one of `ids`."""
        own = self.fitted_on(ids)
        if own:
            raise BaselineError(
                f"{self.info.name} was fitted on some of the trajectories to be judged,"
                f" {min(own)} among them; a reference cannot judge its own data"
            )


def fit_baseline(
    name: str,
    kind: ReferenceKind,
    trajectories: Iterable[Trajectory],
    labeller: Labeller,
    where: str,
    settings: FitSettings,
    progress: Progress = lambda what, share: None,
) -> tuple[Path, BaselineInfo]:
    """Label, fit, calibrate and freeze; the folder and its manifest.

    Trajectories are read once and not kept. Raises `BaselineError` where there are fewer than
    `FEWEST`, and for ceilings that are not rates of known categories.
    """
    if not name.strip():
        raise BaselineError("a baseline needs a name")
    if kind == "declared":
        return _declare(name, where, settings)
    encoded: list[Encoded] = []
    known = KnownTargets()
    tools: set[str] = set()
    subjects: set[str] = set()
    calls = 0
    acts = Tally()
    for trajectory in trajectories:
        labels = labeller.label(trajectory.calls, trajectory.request)
        encoded.append(encode(trajectory, labels))
        acts.add(labels)
        subjects.add(trajectory.subject().label())
        calls += len(trajectory.calls)
        tools.update(call.tool for call in trajectory.calls)
        known.add(role_of(trajectory), trajectory.calls)
        if len(encoded) % 200 == 0:
            progress(f"{len(encoded)} trajectories read", 0.0)
    if len(encoded) < FEWEST:
        raise BaselineError(
            f"{len(encoded)} trajectories meet the condition; a baseline needs at least {FEWEST}"
            " and hundreds to tell a rise"
        )
    from detectors.train import TrainSettings, fit

    fitted = fit(encoded, settings.train or TrainSettings(), progress)
    roles = _roles(encoded)
    contexts = min(len(set(roles.values())), MOST_CONTEXTS)
    crossed = [
        _tracks(each, hazard, roles[each.role])
        for each, hazard in zip(encoded, fitted.crossfitted, strict=True)
    ]
    clusters = _clusters(encoded, settings.clusters)
    calibrations = [
        widened(
            calibrate([tracks[number] for tracks in crossed], contexts, settings.tests, clusters),
            settings.tests.delta,
        )
        for number in range(len(TRACKS))
    ]
    ids = [each.trajectory_id for each in encoded]
    rng = np.random.default_rng(_SEED)
    document = {
        "rung": fitted.hazard.rung,
        "likelihood": fitted.likelihood,
        "penalty": fitted.penalty,
        "roles": roles,
        "calibration": {t: c.to_json() for t, c in zip(TRACKS, calibrations, strict=True)},
        "reliability": _reliability(encoded, fitted.crossfitted),
        allowance.KEY: allowance.allowances(settings.tests, calibrations, crossed, rng),
        "arguments_coverage": 1.0 - float(np.mean([each.blind for each in encoded])),
        KEY_ID: key_id(settings.target_key),
        FORMS: known.forms(),
        "ceilings": {},
        UNFORESEEN_ACTS: acts.to_json(),
    }
    tensors: dict[str, npt.NDArray[Any]] = {
        **fitted.hazard.tensors,
        "trajectory_ids": np.unique(digests(ids, b"")),
        "targets": known.digests(settings.target_key),
        "tools": np.unique(digests(sorted(tools), b"")),
        _SHAPES: shape.sample(encoded, roles, rng),
    }
    manifest = _manifest(name, kind, where, settings, ids, calls, sorted(subjects))
    saved = artefact.save(settings.parent, manifest, document, tensors)
    return saved.folder, saved.info()


def _declare(name: str, where: str, settings: FitSettings) -> tuple[Path, BaselineInfo]:
    limits: dict[int, float] = {}
    for category, rate in settings.ceilings.items():
        if category not in CATEGORY_IDS or not 0.0 <= rate < 1.0:
            raise BaselineError(f"{category}: {rate} is not a rate below 1 of a known category")
        limits[CATEGORY_IDS.index(category)] = rate
    if not limits:
        raise BaselineError("a declared baseline needs at least one ceiling")
    document = {
        "rung": "",
        "roles": {},
        "calibration": {"acts": ceiling(limits).to_json(), "orders": ceiling({}).to_json()},
        "ceilings": dict(settings.ceilings),
    }
    tensors = {
        **dict.fromkeys(_DIGESTED, np.zeros(0, np.uint64)),
        _SHAPES: np.zeros((0, shape.WIDTH)),
    }
    manifest = _manifest(name, "declared", where, settings, [], 0, [])
    saved = artefact.save(settings.parent, manifest, document, tensors)
    return saved.folder, saved.info()


def _manifest(
    name: str,
    kind: ReferenceKind,
    where: str,
    settings: FitSettings,
    ids: Sequence[str],
    calls: int,
    subjects: Sequence[str],
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "where": where,
        "trajectories": len(ids),
        "calls": calls,
        "trajectories_digest": artefact.trajectories_digest(ids),
        "created_ns": settings.created_ns,
        "subjects": list(subjects),
        "rules_digest": settings.rules_digest,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("telltale", "numpy", "torch")},
        },
        "lineage": [dict(entry) for entry in settings.lineage],
    }


def _opportunities(
    encoded: Encoded, hazard: Floats, cell: int, rows: npt.NDArray[np.bool_], from_step: int
) -> Opportunities:
    count = int(rows.sum())
    return Opportunities(
        category=_CATEGORY[encoded.stream[rows]],
        hazard=hazard[rows],
        taken=encoded.taken[rows],
        cell=np.full(count, cell, np.int64),
        after_error=encoded.after_error[rows],
        first=encoded.first[rows],
        visible=encoded.visible[rows],
        again=from_step > 0,
        consumed=int((encoded.step[rows] < from_step).sum()),
    )


def _tracks(
    encoded: Encoded, hazard: Floats, cell: int, from_step: int = 0
) -> tuple[Opportunities, ...]:
    acts = encoded.stream < ORDERS
    return (
        _opportunities(encoded, hazard, cell, acts, from_step),
        _opportunities(encoded, hazard, cell, ~acts, from_step),
    )


def _roles(encoded: Sequence[Encoded]) -> dict[str, int]:
    """Context id per role, commonest first; the rare ones past the last id share it."""
    common = Counter(each.role for each in encoded)
    ranked = sorted(common, key=lambda role: (-common[role], role))
    return {role: min(number, MOST_CONTEXTS - 1) for number, role in enumerate(ranked)}


def _clusters(encoded: Sequence[Encoded], named: Mapping[str, str]) -> list[int] | None:
    if not named:
        return None
    names = [named.get(each.trajectory_id, each.trajectory_id) for each in encoded]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


@lru_cache(maxsize=16_384)
def _digest(text: str) -> int:
    return int(digests([text], b"")[0])


def _reliability(encoded: Sequence[Encoded], hazards: Sequence[Floats]) -> dict[str, list[Any]]:
    """Per stream, [opportunities, expected, observed] of ten bins of equal count of the
    cross-fitted hazard.
    """
    stream = np.concatenate([each.stream[each.visible] for each in encoded])
    taken = np.concatenate([each.taken[each.visible] for each in encoded])
    p = np.concatenate([h[e.visible] for h, e in zip(hazards, encoded, strict=True)])
    out: dict[str, list[Any]] = {}
    for number in range(STREAMS):
        mine = np.flatnonzero(stream == number)
        mine = mine[np.argsort(p[mine], kind="stable")]
        name = "orders" if number == ORDERS else CATEGORY_IDS[number]
        out[name] = [
            [len(part), float(p[part].sum()), int(taken[part].sum())]
            for part in np.array_split(mine, 10)
            if len(part)
        ]
    return out
