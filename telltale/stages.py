"""The production stages: the classes behind the ports between `poll` and `commit`, built once."""

import hashlib
from functools import partial

from collector.otlp import decode
from collector.redact import Redactor
from collector.sessions import Sessions
from detectors.bench import DetectorBench
from detectors.rules.pack import RulePack
from detectors.toolmap import ToolMap
from storage.store import Store
from telltale import keys, references
from telltale.config import Settings
from telltale.pipeline import Stages, subject_of


def stages(settings: Settings, store: Store, labeller: RulePack) -> Stages:
    """The production stages over `store`'s registry; also what `replay` runs."""

    def bench() -> DetectorBench:
        found = references.in_force(store, settings.detection, settings.data, labeller)
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

    redactor = Redactor(
        keys.secret(settings.data, "redaction"),
        secrets=settings.redaction.secrets,
        arguments=settings.redaction.arguments,
    )
    return Stages(
        decode=partial(decode, limits=settings.otlp.limits),
        redact=redactor,
        joiner=joiner,
        labeller=labeller,
        bench=bench,
        subject=subject_of(settings.subject),
    )


def rule_pack(settings: Settings) -> RulePack:
    """The shipped rules, the user's folders over them, and the operator's tool map."""
    path = settings.rules.tool_map
    return RulePack.load(settings.rules.folders, ToolMap.load(path) if path else None)


def rules_digest(pack: RulePack) -> str:
    """Hex SHA-256 over all rules in force: what a baseline was labelled with."""
    content = hashlib.sha256()
    for rule in (*pack.rules, *pack.opportunities):
        content.update(rule.model_dump_json().encode())
    return content.hexdigest()
