"""The production stages: the classes behind the ports between `poll` and `commit`, built once."""

from functools import partial

from alerts import policy
from collector.otlp import decode
from collector.redact import Redactor
from collector.sessions import Sessions
from detectors.bench import DetectorBench
from detectors.rules.pack import RulePack
from detectors.toolmap import ToolMap
from storage import listings
from storage.store import Store
from telltale import keys, references
from telltale.config import Settings
from telltale.pipeline import Stages, subject_of

ALERTS_REMEMBERED = 10_000
"""Newest alerts the policy takes back at start; older ones are past any cool-down."""


def stages(settings: Settings, store: Store, labeller: RulePack) -> Stages:
    """The production stages over `store`'s registry; also what `replay` runs."""

    def bench() -> DetectorBench:
        found = references.in_force(store, settings, labeller)
        return DetectorBench(found.references, references.tests(settings.detection))

    def joiner() -> Sessions:
        trajectories = settings.trajectories
        return Sessions(
            environment=settings.environment,
            idle_timeout_s=trajectories.idle_timeout_s,
            max_age_s=trajectories.max_age_s,
            max_calls=trajectories.max_calls,
            max_spans=trajectories.spans_in_memory,
        )

    def memory() -> policy.Memory:
        alerts = store.fetch(partial(listings.alerts, limit=ALERTS_REMEMBERED, offset=0))
        verdicts = store.fetch(listings.verdicts)
        newest = max((alert.raised_ns for alert in alerts), default=0)
        return policy.restore(alerts, verdicts, newest, policy.Settings())

    redactor = Redactor(
        keys.secret(settings.data, keys.REDACTION),
        secrets=settings.redaction.secrets,
        arguments=settings.redaction.arguments,
    )
    return Stages(
        decode=partial(decode, limits=settings.otlp.limits),
        redact=redactor,
        joiner=joiner,
        labeller=labeller,
        bench=bench,
        memory=memory,
        subject=subject_of(settings.subject),
        quiet_ns=int(settings.trajectories.idle_timeout_s * 1e9),
    )


def rule_pack(settings: Settings) -> RulePack:
    """The shipped rules, the user's folders over them, and the operator's tool map."""
    path = settings.rules.tool_map
    return RulePack.load(settings.rules.folders, ToolMap.load(path) if path else None)
