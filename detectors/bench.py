"""The references in force and the detectors of every subject against them: from labels to verdicts.

One class for the daemon and for `judge`. Its state is a map of bytes, one entry per subject and
reference and one per subject for attribution; a bench that is given them goes on as if it had never
stopped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

import orjson

from contracts.errors import BaselineError
from contracts.labels import CATEGORY_IDS
from contracts.ports import Judgement, Labelled
from contracts.trajectory import Subject
from contracts.verdict import Alert, Evidence, Verdict
from detectors import ceiling
from detectors.alarm import alarm
from detectors.attribution import Attribution, attributed, sides
from detectors.baseline import Reference
from detectors.comparison import Compared, Due, compared
from detectors.features import STREAMS, encode
from detectors.sequential import Settings
from detectors.shape import shape
from detectors.watch import Watch

_ATTRIBUTION: Final = "attribution"


class DetectorBench:
    """A `contracts.ports.Bench`.

    `references`: those in force; each judges the subjects whose label its `active_for` glob
    matches, "" none. `settings`: of the tests; `categories` is set to the number of streams, which
    share the budget. `strict`: refuse, with `BaselineError`, to judge a trajectory by a reference
    that was fitted on it; otherwise it is left out and never makes a verdict `clear`.
    """

    def __init__(
        self,
        references: Sequence[Reference],
        settings: Settings | None = None,
        strict: bool = False,
    ) -> None:
        self._settings = replace(settings or Settings(), categories=STREAMS)
        self._references = {reference.info.digest: reference for reference in references}
        self._strict = strict
        self._watches: dict[tuple[Subject, str], Watch] = {}
        self._attributions: dict[Subject, Attribution] = {}
        self._forbidden = {
            digest: [category for category, rate in reference.ceilings.items() if rate == 0]
            for digest, reference in self._references.items()
        }

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take back stored states; keys of references no longer in force are ignored."""
        for key, data in states.items():
            subject, what = _parsed(key)
            if what == _ATTRIBUTION:
                self._attributions[subject] = Attribution.from_bytes(data)
            elif what in self._references:
                self._watches[subject, what] = Watch.from_bytes(data)

    def observe(self, batch: Sequence[Labelled], now_ns: int) -> Judgement:
        """Consume due trajectories in the order given, each from its `judged_calls` on."""
        due = [
            _due(place, labelled)
            for place, labelled in enumerate(batch)
            if labelled.trajectory.judged_calls < len(labelled.trajectory.calls)
        ]
        by_subject: dict[Subject, list[int]] = {}
        for number, each in enumerate(due):
            by_subject.setdefault(each.labelled.subject, []).append(number)
        items = self._items(due, by_subject)
        evidence: list[tuple[int, Evidence]] = []
        verdicts: list[Verdict] = []
        alerts: list[Alert] = []
        states: dict[str, bytes] = {}
        for subject, numbers in by_subject.items():
            raised: list[tuple[Reference, int, int, int]] = []
            for reference in self._in_force(subject):
                mine = [items[reference.info.digest][number] for number in numbers]
                rows, alarms = self._against(reference, subject, mine)
                evidence += rows
                raised += [(reference, *each) for each in alarms]
            self._attribute(subject, items, numbers)
            reached = self.verdicts(subject, now_ns)
            verdicts += reached
            for reference, category, number, place in raised:
                key = (reference.info.name, CATEGORY_IDS[category])
                verdict = next(v for v in reached if (v.reference, v.category) == key)
                leaders = self._watch(subject, reference).leaders(category)
                acts = batch[place].labels.actions
                alerts.append(alarm(reference.info, verdict, number, leaders, now_ns, acts))
            states |= self._states(subject)
        evidence.sort(key=lambda row: row[0])
        return Judgement(tuple(row for _, row in evidence), tuple(verdicts), tuple(alerts), states)

    def limits(self, batch: Sequence[Labelled], now_ns: int) -> tuple[Alert, ...]:
        """Alerts for single acts that broke a limit; the same act gives the same alert id."""
        out: dict[str, Alert] = {}
        for labelled in batch:
            forbidden = {
                reference.info.name: self._forbidden[reference.info.digest]
                for reference in self._in_force(labelled.subject)
            }
            for alert in ceiling.broken(labelled, forbidden, now_ns):
                out.setdefault(alert.alert_id, alert)
        return tuple(out.values())

    def verdicts(self, subject: Subject, now_ns: int) -> tuple[Verdict, ...]:
        """The standing verdicts of a subject, also where it has had no opportunity yet."""
        out: list[Verdict] = []
        for reference in self._in_force(subject):
            watch = self._watch(subject, reference)
            out += watch.verdicts(reference, self._settings, subject, now_ns)
        attribution = self._attributions.get(subject) or Attribution.new()
        return attributed(out, attribution, self._settings.alpha)

    def unjudged(self, subject: Subject) -> dict[tuple[str, str], int]:
        """By category and reference, opportunities of a subject that no test could use."""
        return {
            (category, reference.info.name): int(count)
            for reference in self._in_force(subject)
            for category, count in zip(
                CATEGORY_IDS, self._watch(subject, reference).unjudged(), strict=True
            )
        }

    def _in_force(self, subject: Subject) -> list[Reference]:
        label = subject.label()
        return [
            reference
            for reference in self._references.values()
            if fnmatchcase(label, reference.info.active_for)
        ]

    def _watch(self, subject: Subject, reference: Reference) -> Watch:
        found = self._watches.get((subject, reference.info.digest))
        return found or Watch.new(reference, self._settings)

    def _items(
        self, due: Sequence[Due], by_subject: Mapping[Subject, Sequence[int]]
    ) -> dict[str, Mapping[int, Compared]]:
        """Per reference's digest and index into `due`, what that reference makes of it."""
        wanted: dict[str, list[int]] = {digest: [] for digest in self._references}
        for subject, numbers in by_subject.items():
            for reference in self._in_force(subject):
                wanted[reference.info.digest] += numbers
        return {
            digest: compared(self._references[digest], due, numbers)
            for digest, numbers in wanted.items()
        }

    def _against(
        self, reference: Reference, subject: Subject, items: Sequence[Compared]
    ) -> tuple[list[tuple[int, Evidence]], list[tuple[int, int, int]]]:
        """The rows with the index of their trajectory in the batch, and (category, number of the
        alarm, index of the trajectory that raised it) of each new alarm.
        """
        ids = [item.trajectory.trajectory_id for item in items]
        if self._strict:
            reference.refuse_own(ids)
        own = set(reference.fitted_on(ids))
        kept = [item for item in items if item.trajectory.trajectory_id not in own]
        before = self._watch(subject, reference)
        left_out = [item.trajectory for item in items if item.trajectory.trajectory_id in own]
        # one that is judged in parts counts with its first, which an older reference may have had
        refused = sum(each.judged_calls == 0 for each in left_out)
        if not refused and not before.refused:
            refused = len({each.trajectory_id for each in left_out})
        watch, rows, alarms = before.observe(
            reference, self._settings, subject, kept, refused=refused
        )
        self._watches[subject, reference.info.digest] = watch
        return (
            [(kept[place].place, row) for place, row in rows],
            [(category, number, kept[place].place) for category, number, place in alarms],
        )

    def _attribute(
        self,
        subject: Subject,
        items: Mapping[str, Mapping[int, Compared]],
        numbers: Sequence[int],
    ) -> None:
        attribution = self._attributions.get(subject) or Attribution.new()
        pair = sides(self._in_force(subject))
        if pair is not None:
            attribution = attribution.observe(
                *pair,
                *(
                    [items[reference.info.digest][number].tracks for number in numbers]
                    for reference in pair
                ),
            )
        self._attributions[subject] = attribution

    def _states(self, subject: Subject) -> dict[str, bytes]:
        states = {
            _key(subject, reference.info.digest): self._watch(subject, reference).to_bytes()
            for reference in self._in_force(subject)
        }
        if states:
            states[_key(subject, _ATTRIBUTION)] = self._attributions[subject].to_bytes()
        return states


def _due(place: int, labelled: Labelled) -> Due:
    encoded = encode(labelled.trajectory, labelled.labels)
    whole = labelled.trajectory.judged_calls == 0
    return Due(place, labelled, encoded, shape(encoded) if whole else None)


def _key(subject: Subject, what: str) -> str:
    return orjson.dumps([*subject, what]).decode()


def _parsed(key: str) -> tuple[Subject, str]:
    try:
        *subject, what = orjson.loads(key)
        return Subject(*(str(part) for part in subject)), str(what)
    except (ValueError, TypeError) as error:
        raise BaselineError(f"a detector state is stored under an unknown key: {key!r}") from error
