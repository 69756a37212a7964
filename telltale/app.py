"""`App`: builds every part in one straight line, starts them, stops them in reverse order.

With `telltale.stages` the only module that names the classes behind the ports. Each part registers
its teardown the moment it exists, so that a failed build rolls back by the same stack.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from alerts.exposition import Exposition
from collector.connection_guard import guarded
from collector.inbox import OtlpInbox
from collector.otlp import decode
from collector.otlp_grpc import GrpcReceiver
from collector.otlp_http import HttpReceiver
from collector.receiver_limits import ReceiverLimits
from contracts.clock import Clock, SystemClock
from contracts.ports import SpanSource
from storage import listings
from storage.store import Store
from telltale import keys, references
from telltale.administration import StoreAdministration
from telltale.api import admin
from telltale.api.application import create_app
from telltale.api.ports import Readiness
from telltale.client import MARKER
from telltale.config import Settings, address
from telltale.deliver import Deliverer
from telltale.doctor import Observations
from telltale.explain import Explainer
from telltale.loop import Loop, Observers
from telltale.pipeline import Pipeline, Step, subject_of
from telltale.reads import Reads
from telltale.server import ApiServer
from telltale.stages import rule_pack, stages
from telltale.upkeep import Retention

log = logging.getLogger("telltale.app")

STOP_S = 8.0
"""What all parts together may take for a clean stop; Kubernetes and Docker allow 10 s or more."""
LEAST_STOP_S = 0.5
"""What a part may take where the others before it took all."""
API_CONNECTIONS = 256
STALE_COMMIT_S = 60.0
"""Without a turn of the loop for this long the daemon is not ready."""


class App:
    """The daemon in one process. `start`, then `run` until `stop`; `close` in any case."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._last_turn_ns = self.clock.monotonic_ns()
        self._problems: dict[str, str] = {}
        self._stop_by_ns = 0
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise

    def _build(self) -> None:
        settings, clock = self.settings, self.clock
        self.labeller = rule_pack(settings)
        self.store = Store(settings.data, clock, settings.storage)
        self._stack.callback(self.store.close)
        self.exposition = Exposition(
            CollectorRegistry(), version("telltale"), subject_of(settings.subject)
        )
        self._check_references()
        self.pipeline = Pipeline(stages(settings, self.store, self.labeller), self.store)
        self._restore_metrics()
        self.inbox = OtlpInbox(
            clock,
            max_records=settings.otlp.queue_requests,
            max_bytes=settings.otlp.queue_bytes,
        )
        self.sources: list[SpanSource] = [self.inbox]
        if settings.kafka is not None:
            from collector.kafka import KafkaSource

            self.sources.append(KafkaSource(settings.kafka, clock))
        self.loop = Loop(
            self.pipeline,
            self.store,
            self.sources,
            clock,
            Observers(
                self._committed,
                self.exposition.failed,
                partial(self.exposition.dropped, "refused"),
                self._turned,
                Retention(self.store, settings.storage.retention_days, clock).turn,
            ),
        )
        explainer = Explainer(self.store, self.labeller, settings)
        self.reads = Reads(
            self.store,
            self.labeller,
            self.labeller.tools,
            explainer,
            settings.storage.query,
            self._readiness,
            self.exposition.render,
            self._observations,
        )
        host, port = address(settings.api.listen)
        protocol = guarded(ReceiverLimits(connections=API_CONNECTIONS))
        self.server = ApiServer(self._application(), host, port, protocol)
        self.receivers: list[HttpReceiver | GrpcReceiver] = []
        read = partial(decode, limits=settings.otlp.limits)
        # one number says what a payload may have, whichever way and however packed it comes
        most = settings.otlp.limits.payload_bytes
        limits = ReceiverLimits(request_bytes=most, payload_bytes=most)
        if settings.otlp.http:
            host, port = address(settings.otlp.http)
            self.receivers.append(
                HttpReceiver(self.inbox, read, host=host, port=port, limits=limits)
            )
        if settings.otlp.grpc:
            host, port = address(settings.otlp.grpc)
            self.receivers.append(
                GrpcReceiver(self.inbox, read, host=host, port=port, limits=limits)
            )

    def start(self) -> None:
        """Serve and receive. Raises `ConfigError` where an address cannot be had."""
        self.server.start()
        self._stack.callback(self._within, self.server.close)
        self.delivery = Deliverer(
            self.store,
            self.settings.alertmanager.urls,
            self.settings.api.url or self.server.url,
            self.settings.alertmanager.runbooks,
            lambda: self.pipeline.memory,
            self.exposition,
            self.clock,
        )
        self.delivery.start()
        self._stack.callback(self._within, self.delivery.close)
        self.inbox.start({})  # before anybody can send: the loop takes it from there
        for receiver in self.receivers:
            receiver.start()
            self._stack.callback(self._within, receiver.close)
        self._loop_thread = threading.Thread(target=self._run_loop, name="loop", daemon=True)
        self._loop_thread.start()
        # stopped before the receivers: what is queued goes back to its senders at once, and the
        # receivers have no answer to wait for
        self._stack.callback(self._stop_loop)
        self._write_marker()
        self._stack.callback((self.settings.data / MARKER).unlink, missing_ok=True)
        log.info("started", extra={"api": self.server.url, "data": str(self.settings.data)})

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until `stop` is called or the loop died; whether it ended."""
        return self._stopping.wait(timeout_s)

    def stop(self) -> None:
        """Ask `wait` to return. Safe in a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Stop everything, newest first, within about `STOP_S`. Idempotent."""
        self._stop_by_ns = self.clock.monotonic_ns() + int(STOP_S * 1e9)
        self._stack.close()

    @property
    def failed(self) -> str:
        """Why the loop died, "" while it did not."""
        return self._problems.get("loop", "")

    def reload_references(self) -> None:
        """Judge by the references promoted now, from the next batch on."""
        self._check_references()
        self.loop.reload_references()

    def _check_references(self) -> None:
        settings = self.settings
        found = references.in_force(self.store, settings, self.labeller)
        for name in [key for key in self._problems if key.startswith("baseline ")]:
            del self._problems[name]
        for name, why in found.broken.items():
            self._problems[f"baseline {name}"] = why
            self.exposition.failed("detectors")

    def _application(self) -> FastAPI:
        settings = self.settings
        token = settings.api.token.get_secret_value()
        app = create_app(self.reads, settings.api.hosts, token)
        administration = StoreAdministration(self.store, settings.data, self.reload_references)
        app.include_router(admin.router(administration, keys.secret(settings.data, keys.ADMIN)))
        return app

    def _restore_metrics(self) -> None:
        seen = self.store.fetch(listings.subjects)
        self.exposition.restore(
            self.store.fetch(listings.verdicts),
            {each.subject: each.last_received_ns for each in seen},
            self.store.fetch(partial(listings.alerts, limit=100, offset=0)),
        )
        self.exposition.outbox(self.store.fetch(listings.outbox_size))

    def _run_loop(self) -> None:
        try:
            self.loop.run()
        except Exception as error:
            # nothing may go on unseen: the daemon ends, and whoever runs it starts it again
            log.exception("the loop died")
            self._problems["loop"] = f"{type(error).__name__}: {error}"
            self._stopping.set()

    def _within(self, close: Callable[[float], None]) -> None:
        """Close a part within what is left of the time."""
        left_s = (self._stop_by_ns - self.clock.monotonic_ns()) / 1e9
        close(max(LEAST_STOP_S, left_s))

    def _stop_loop(self) -> None:
        self.loop.stop()
        self._within(self._loop_thread.join)
        for source in self.sources:
            self._within(source.close)

    def _committed(self, step: Step, seconds: float) -> None:
        if step.changes.committed_ns:
            self.exposition.record(step.changes, received=step.spans_received)
        if step.changes.alerts:
            self.delivery.wake()

    def _turned(self, now_ns: int) -> None:
        self._last_turn_ns = self.clock.monotonic_ns()
        self.exposition.polled(now_ns)
        self.exposition.lost(self.inbox.turned_away, self.pipeline.redaction_errors)
        for source in self.sources:
            lag_s = source.lag_s(now_ns)
            self.exposition.source(source.name, source.up, lag_s, source.stalled)

    def _readiness(self) -> Readiness:
        idle_s = (self.clock.monotonic_ns() - self._last_turn_ns) / 1e9
        checks = {"loop": "" if idle_s < STALE_COMMIT_S else f"no turn for {idle_s:.0f} s"}
        return Readiness({**checks, **self._problems})

    def _observations(self) -> Observations:
        now_ns = self.clock.now_ns()
        problems: Sequence[str] = [f"{name}: {why}" for name, why in self._problems.items()]
        return Observations({s.name: s.lag_s(now_ns) for s in self.sources}, problems)

    def _write_marker(self) -> None:
        otlp = next((r for r in self.receivers if isinstance(r, HttpReceiver)), None)
        document = {
            "pid": os.getpid(),
            "api": self.server.url,
            "otlp_http": "http://{}:{}".format(*otlp.address) if otlp else "",
        }
        path: Path = self.settings.data / MARKER
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.replace(path)
