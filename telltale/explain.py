"""Why an alert was raised: reference, counts, onset, strongest calls, what changed before."""

from collections.abc import Sequence
from functools import partial
from math import log

from contracts.baseline import BaselineInfo
from contracts.errors import BaselineError, ConfigError
from contracts.labels import CATEGORY_IDS
from contracts.ports import Labeller
from contracts.trajectory import Subject
from contracts.verdict import Alert, Evidence, Verdict
from detectors.allowance import calibrated_threshold
from detectors.baseline import Reference
from detectors.contribution import INSTRUCTED, contributions
from detectors.evidence import OF_ORDERS
from detectors.novelty import Novelty, novelty
from detectors.sequential import Settings as TestSettings
from detectors.threshold import guaranteed
from storage import listings
from storage.store import Store
from telltale import keys, references
from telltale.api.ports import Change, Contribution, Explanation, Targets
from telltale.config import Settings
from telltale.judging import Curve

CURVE = 2_000
"""Points of the evidence curve, the newest ones."""
STRONGEST = 10
"""Contributing calls shown."""
WINDOW = 50
"""Trajectories on each side of the onset that are compared for what changed."""
READ = 10
"""Trajectories since the onset that are read for contributing calls."""


def _onset_interval(curve: Sequence[Evidence], verdict: Verdict | None) -> tuple[int, int] | None:
    """Where the first changed trajectory may be, from the evidence up to the alarm."""
    if verdict is None or not verdict.alarm_at:
        return None
    seen = Curve()
    for row in curve:
        seen.add(row)
    return seen.onset(verdict.alarm_at) if any(row.n <= verdict.alarm_at for row in curve) else None


def _to_read(alert: Alert, curve: Sequence[Evidence], onset: int | None) -> Sequence[str]:
    """The trajectories since the onset with the largest excess of taken over expected, most first;
    the alert's own where there was no test, or nothing is left of its evidence.
    """
    if alert.kind != "drift" or onset is None:
        return alert.trajectory_ids
    excess: dict[str, float] = {}
    taken: set[str] = set()
    for row in curve:
        if row.n >= onset:  # a trajectory that was judged in parts has a row for each
            excess[row.trajectory_id] = (
                excess.get(row.trajectory_id, 0.0) + row.taken - row.expected
            )
            if row.taken:
                taken.add(row.trajectory_id)
    found = sorted(taken, key=lambda identity: (-excess[identity], identity))
    return found[:READ] or alert.trajectory_ids


class Explainer:
    """Explains alerts of a store. Thread-safe as the store is."""

    def __init__(self, store: Store, labeller: Labeller, settings: Settings) -> None:
        self._store = store
        self._labeller = labeller
        self._settings = settings

    def explain(self, alert_id: str) -> Explanation | None:
        """By the alert's id or the start of it; None where there is no such alert."""
        alert = self._store.fetch(partial(listings.alert, alert_id=alert_id))
        if alert is None:
            return None
        verdict = self._verdict(alert)
        info = self._reference(alert)
        try:
            reference, readable = self._loaded(alert, info), True
        except BaselineError:  # gone or refused; the rest of the explanation still stands
            reference, readable = None, False
        calibrated = self._calibrated(alert, reference)
        curve = self._curve(alert)
        onset = next((v.onset for v in (verdict, alert.verdict) if v and v.onset is not None), None)
        read = _to_read(alert, curve, onset)
        contributing = self._contributions(alert, reference, read) if readable else []
        return Explanation(
            alert=alert,
            verdict=verdict,
            reference=info,
            curve=curve,
            threshold_log10=self._threshold(calibrated) if alert.kind == "drift" else None,
            calibrated_threshold_log10=calibrated if alert.kind == "drift" else None,
            onset_ns=self._onset_ns(curve, onset),
            onset_interval=_onset_interval(curve, verdict),
            contributions=contributing[:STRONGEST],
            targets=Targets(
                *(
                    sum(c.target == word for c in contributing)
                    for word in ("new", "known", "unknown")
                )
            ),
            ceiling=reference.ceilings.get(alert.category) if reference else None,
            trajectories=self._store.fetch(partial(listings.summaries_of, trajectory_ids=read)),
            lineage=self._store.lineage(alert.subject.model),
            changes=self._changes(alert.subject, curve, onset),
        )

    def _verdict(self, alert: Alert) -> Verdict | None:
        for verdict in self._store.fetch(listings.verdicts):
            if (verdict.subject, verdict.category, verdict.reference) == (
                alert.subject,
                alert.category,
                alert.reference,
            ):
                return verdict
        return alert.verdict

    def _reference(self, alert: Alert) -> BaselineInfo | None:
        return next((b for b in self._store.baselines() if b.name == alert.reference), None)

    def _curve(self, alert: Alert) -> Sequence[Evidence]:
        return self._store.fetch(
            partial(
                listings.evidence,
                subject=alert.subject,
                category=alert.category,
                reference=alert.reference,
                most=CURVE,
            )
        )

    def _tests(self) -> TestSettings:
        return references.tests(self._settings.detection)

    def _threshold(self, calibrated: float | None) -> float:
        """log10 of the threshold that pages."""
        if self._tests().calibrated and calibrated is not None:
            return calibrated
        return guaranteed(self._tests()) / log(10)

    def _calibrated(self, alert: Alert, reference: Reference | None) -> float | None:
        """log10 of the calibrated threshold, of both tracks' the higher; None without one."""
        if reference is None or alert.category not in CATEGORY_IDS:
            return None
        tracks = (0, 1) if CATEGORY_IDS.index(alert.category) == OF_ORDERS else (0,)
        limits = [calibrated_threshold(reference.document, k, self._tests()) for k in tracks]
        return max((limit / log(10) for limit in limits if limit is not None), default=None)

    def _onset_ns(self, curve: Sequence[Evidence], onset: int | None) -> int | None:
        for row in curve:
            if row.n == onset:
                found = self._store.fetch(
                    partial(listings.trajectory, trajectory_id=row.trajectory_id)
                )
                return found.ended_ns if found else None
        return None

    def _contributions(
        self, alert: Alert, reference: Reference | None, read: Sequence[str]
    ) -> list[Contribution]:
        """All calls of those trajectories that speak for the alert, strongest first."""
        found: list[Contribution] = []
        key = self._target_key(reference)
        for trajectory_id in read:
            trajectory = self._store.fetch(
                partial(listings.trajectory, trajectory_id=trajectory_id)
            )
            if trajectory is None:
                continue
            labels = self._labeller.label(trajectory.calls, trajectory.request)
            actions = {a.step: a for a in labels.actions if a.category == alert.category}
            each: Sequence[tuple[int, float | None, float | None, bool]]
            if reference is None:
                each = [(a.step, None, None, False) for a in actions.values()]
            else:
                each = [
                    (c.step, c.hazard, c.log10_factor, c.instructed)
                    for c in contributions(
                        reference, trajectory, labels, alert.category, self._tests()
                    )
                ]
            for step, hazard, factor, instructed in each:
                call, action = trajectory.calls[step], actions.get(step)
                new = Novelty("unknown")
                if reference is not None and key is not None:
                    new = novelty(reference, trajectory, call, key)
                found.append(
                    Contribution(
                        trajectory_id=trajectory_id,
                        step=step,
                        tool=call.tool,
                        arguments=call.arguments,
                        category=alert.category,
                        variant=action.variant if action and not instructed else INSTRUCTED,
                        stage=action.stage if action else "unknown",
                        hazard=hazard,
                        log10_factor=factor,
                        target=new.word,
                        new_targets=new.targets,
                    )
                )
        found.sort(key=lambda each: -(each.log10_factor or 0.0))
        return found

    def _target_key(self, reference: Reference | None) -> bytes | None:
        """The key of the digests of targets; None where it cannot be had or nothing needs it."""
        if reference is None or reference.hazard is None:
            return None
        try:
            return keys.secret(self._settings.data, keys.TARGETS)
        except ConfigError:  # a folder that may only be read; the targets are then unknown
            return None

    def _loaded(self, alert: Alert, info: BaselineInfo | None) -> Reference | None:
        if info is not None:
            return references.load(self._store, self._settings, info.name, "*")
        ceilings = self._settings.detection.ceilings
        if alert.reference == references.CEILINGS and ceilings:
            return references.declared(ceilings, self._settings.data, self._labeller)
        return None

    def _changes(
        self, subject: Subject, curve: Sequence[Evidence], onset: int | None
    ) -> list[Change]:
        """Tools, services and versions that the subject used around the onset for the first or the
        last time.
        """
        if onset is None:
            return []
        before = [row.trajectory_id for row in curve if onset - WINDOW <= row.n < onset]
        after = [row.trajectory_id for row in curve if onset <= row.n < onset + WINDOW]
        if not before or not after:
            return []
        summaries = self._store.fetch(partial(listings.summaries_of, trajectory_ids=after))
        since_ns = min((each.started_ns for each in summaries), default=0)
        equal: dict[str, str] = {name: getattr(subject, name) for name in self._settings.subject}
        changes: list[Change] = []
        for what, column in (
            ("tool", "tool"),
            ("service", "service"),
            ("agent", "agent"),
            ("agent version", "agent_version"),
            ("model", "model"),
        ):
            old, new = (
                self._store.fetch(partial(listings.first_seen, trajectory_ids=ids, column=column))
                for ids in (before, after)
            )
            used = self._store.fetch(partial(listings.used, equal=equal, column=column))
            for value in sorted(set(new) - set(old)):
                if value in used and used[value][0] >= since_ns:
                    changes.append(Change(new[value], what, "", value))
            for value in sorted(set(old) - set(new)):
                if value in used and used[value][1] < since_ns:
                    changes.append(Change(0, what, value, ""))
        return changes
