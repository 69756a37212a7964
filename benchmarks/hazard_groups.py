"""What each group of features adds to the log-linear hazard, in held-out log-likelihood.

Groups that the hazard reads are left out one at a time. Groups that it does not read are put in one
at a time: what the arguments of earlier calls say (where their targets came from, whether the
reference had acted on them, their shapes), and the whole history at the first act of a family.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from contracts.labels import Labels
from contracts.trajectory import Trajectory
from detectors.features import ORDERS, SLOTS, Encoded, bucket, encode, role_of
from detectors.hazard import Flags, Floats, Integers, log_likelihood
from detectors.parsing.arguments import Target, leaves, targets_of
from detectors.taint import Origins
from detectors.train import TrainSettings, fit_rung, folds_of

PENALTY: Final = 1.0
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "role, agent, tools offered": ("role", "agent", "offered"),
    "position and time": ("position", "gap"),
    "earlier tools and acts": ("tool", "act", "acts", "repeat", "variety"),
    "outcomes and errors": ("outcome", "errors", "denied"),
    "categories taken before": ("taken",),
    "size and shape of results": ("result_size", "result_shape"),
    "family of the opportunity": ("family", "first"),
}
HISTORY: Final = "all history (the five above it)"
ARGUMENTS: Final = (
    "origin of earlier targets",
    "novelty of earlier targets",
    "shapes of arguments",
)
WHOLE: Final = "history at first acts"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A trajectory, its labels and its arrays; and per call the targets it acts on, at most
    `_MOST`, and where they came from.
    """

    trajectory: Trajectory
    labels: Labels
    encoded: Encoded
    targets: tuple[tuple[Target, ...], ...]
    origins: tuple[str, ...]


_MOST: Final = 6


def labelled(trajectory: Trajectory, labels: Labels) -> Labelled:
    """All that the groups need of one trajectory."""
    origins = Origins(trajectory.calls, trajectory.request)
    targets: list[tuple[Target, ...]] = []
    where: list[str] = []
    for step, call in enumerate(trajectory.calls):
        found = tuple(targets_of(leaves(call.arguments)))[:_MOST]
        targets.append(found)
        where.append("+".join(sorted({origins.of(step, each) for each in found})) or "none")
    encoded = encode(trajectory, labels)
    return Labelled(trajectory, labels, encoded, tuple(targets), tuple(where))


def study(every: Sequence[Labelled], telling: Flags) -> list[tuple[str, Floats]]:
    """Per group, the gain of each trajectory's held-out log-likelihood by having the group.

    `telling`: the streams that count, (STREAMS,).
    """
    encoded = [each.encoded for each in every]
    folds = range(TrainSettings().folds)
    fold = folds_of(encoded, len(folds))

    def crossfitted(per_fold: Sequence[Sequence[Encoded]]) -> Floats:
        hazards: list[Floats] = [np.zeros(0)] * len(every)
        for number, arrays in zip(folds, per_fold, strict=True):
            kept = [each for each, f in zip(arrays, fold, strict=True) if f != number]
            model = fit_rung("loglinear", kept, TrainSettings(), PENALTY)
            held = np.flatnonzero(fold == number).tolist()
            for i, hazard in zip(held, model.many([arrays[i] for i in held]), strict=True):
                hazards[i] = hazard
        return log_likelihood(hazards, encoded, telling)

    whole = crossfitted([encoded for _ in folds])
    out: list[tuple[str, Floats]] = []
    history = [slot for name in list(GROUPS)[1:-1] for slot in GROUPS[name]]
    for name, slots in (*GROUPS.items(), (HISTORY, history)):
        less = [_without(each, slots) for each in encoded]
        out.append((f"- {name}", whole - crossfitted([less for _ in folds])))
    for name in ARGUMENTS:
        more = crossfitted([_with_arguments(every, fold, number, name) for number in folds])
        out.append((f"+ {name}", more - whole))
    free = [_whole_history(each) for each in every]
    out.append((f"+ {WHOLE}", crossfitted([free for _ in folds]) - whole))
    return out


def _without(encoded: Encoded, slots: Sequence[str]) -> Encoded:
    features = encoded.features.copy()
    for slot in slots:
        features[:, SLOTS.index(slot)] = bucket(slot, "-")
    return replace(encoded, features=features)


def _whole_history(each: Labelled) -> Encoded:
    """The arrays as if no opportunity were the first act of its family; which are is kept."""
    opportunities = tuple(replace(o, position="any") for o in each.labels.opportunities)
    free = encode(each.trajectory, Labels(each.labels.actions, opportunities))
    last = SLOTS.index("first")
    free.features[:, last] = each.encoded.features[:, last]
    return replace(each.encoded, features=free.features)


def _with_arguments(
    every: Sequence[Labelled], fold: Integers, held: int, name: str
) -> list[Encoded]:
    """One more column, of what stood in the arguments of earlier calls. A target is known if
    another trajectory outside the fold `held` acted on it in that role.
    """
    known = Counter(
        (role_of(each.trajectory), target.kind, target.value)
        for each, f in zip(every, fold, strict=True)
        if f != held
        for target in {target for call in each.targets for target in call}
    )
    out: list[Encoded] = []
    for each, f in zip(every, fold, strict=True):
        role, own = role_of(each.trajectory), int(f != held)
        values, before = ["start"], 0
        for call, found, where in zip(
            each.trajectory.calls, each.targets, each.origins, strict=True
        ):
            new = any(known[role, t.kind, t.value] <= own for t in found)
            if name == ARGUMENTS[0]:
                before += "tainted" in where
                values.append(f"{min(before, 3)} {where}")
            elif name == ARGUMENTS[1]:
                before += new
                values.append(f"{min(before, 3)} {new if found else 'none'}")
            else:
                kinds = "+".join(sorted({target.kind for target in found}))
                size = len(call.arguments) if isinstance(call.arguments, dict) else -1
                values.append(f"{kinds} {size}")
        column = np.array([bucket(name, value) for value in values], np.int64)[each.encoded.step]
        fixed = each.encoded.first | (each.encoded.stream == ORDERS)
        column = np.where(fixed, bucket(name, "-"), column)
        features = np.concatenate([each.encoded.features, column[:, None]], axis=1)
        out.append(replace(each.encoded, features=features))
    return out
