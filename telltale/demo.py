"""The whole path on sample spans in one process: baseline, drift, alarm, explanation, pages."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from collector.replay import ReplaySource, Tally, read_payloads
from contracts.clock import Clock, SystemClock
from contracts.verdict import Alert, Verdict
from detectors.baseline import FitSettings, fit_baseline
from storage.store import Store
from telltale import keys, references
from telltale.app import App
from telltale.config import Settings, load
from telltale.pipeline import Pipeline
from telltale.replay import Counts, replay
from telltale.stages import rule_pack, stages

TEACHER, STUDENT = "demo-teacher", "demo-student"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo came to. `url`: the page of the alert."""

    alert: Alert
    verdicts: tuple[Verdict, ...]
    url: str
    data: Path


class Demo:
    """A data folder of its own and a daemon on free ports; `close` removes both."""

    def __init__(self, say: Callable[[str], None], clock: Clock | None = None) -> None:
        self._say = say
        self._clock = clock or SystemClock()
        self._stack = ExitStack()
        data = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="telltale-demo-"))
        settings = load(data=Path(data))
        self.settings: Settings = settings.model_copy(
            update={
                "kafka": None,
                "otlp": settings.otlp.model_copy(update={"http": "127.0.0.1:0", "grpc": None}),
                "api": settings.api.model_copy(update={"listen": "127.0.0.1:0"}),
                "alertmanager": settings.alertmanager.model_copy(update={"urls": ()}),
            }
        )

    def run(self) -> Shown:
        """Replay the teacher, freeze it, replay the student, and serve what came of it."""
        settings = self.settings
        with ExitStack() as stack:
            store = Store(settings.data, self._clock, settings.storage)
            stack.callback(store.close)
            counts = self._replay(store, "teacher")
            self._say(f"teacher: {counts.spans} spans, {counts.trajectories} trajectories")
            self._fit(store)
            counts = self._replay(store, "student")
            self._say(f"student: {counts.spans} spans, {counts.trajectories} trajectories")
        app = App(settings)
        self._stack.callback(app.close)
        app.start()
        alerts = [a for a in app.reads.alerts(100, 0) if a.kind == "drift"]
        if not alerts:
            raise RuntimeError("the demo's student raised no alert")
        first = min(alerts, key=lambda a: (a.verdict and a.verdict.alarm_at) or 0)
        verdicts = tuple(v for v in app.reads.verdicts() if v.opportunities)
        return Shown(first, verdicts, f"{app.server.url}/alerts/{first.alert_id}", settings.data)

    def close(self) -> None:
        """Stop the daemon and remove the data folder. Idempotent."""
        self._stack.close()

    def _replay(self, store: Store, name: str) -> Counts:
        pipeline = Pipeline(stages(self.settings, store, rule_pack(self.settings)), store)
        path = files("telltale") / "samples" / f"{name}.jsonl.gz"
        records = read_payloads([str(path)], self._clock, Tally())
        return replay(ReplaySource(records), pipeline, store, self._clock)

    def _fit(self, store: Store) -> None:
        settings = self.settings
        labeller = rule_pack(settings)
        where = f"environment = '{TEACHER}'"
        _, info = fit_baseline(
            "benign-tasks",
            "teacher",
            store.trajectories(where),
            labeller,
            where,
            FitSettings(
                parent=settings.data / references.FOLDER,
                created_ns=self._clock.now_ns(),
                rules_digest=labeller.digest(),
                target_key=keys.secret(settings.data, keys.TARGETS),
                tests=references.tests(settings.detection),
            ),
        )
        store.add_baseline(replace(info, active_for=f"{STUDENT}/*"))
        self._say(f"baseline: {info.name}, {info.calls} calls, digest {info.digest[:12]}")
