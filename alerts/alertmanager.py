"""Sends alerts to Prometheus Alertmanagers over their API v2."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from alerts.labels import clean
from alerts.policy import BLIND, GAP, TAMPERING
from alerts.text import plain
from contracts.clock import Clock
from contracts.errors import ConfigError, PermanentError, RetryableError
from contracts.verdict import Alert

log = logging.getLogger(__name__)

FIRING_S = 3_600.0
"""An alert that is not sent again counts as ended after this time. Longer than Prometheus's four
minutes, because an alarm does not end when Telltale stops; it is sent again every minute.
"""

_NAMES = {GAP: "TelltaleEvidenceLost", TAMPERING: "TelltaleTampering"}


class Rejected(PermanentError):
    """Every Alertmanager that answered called the alerts malformed."""


class Alertmanager:
    """An `AlertSink` over several Alertmanagers; one that takes the alerts is enough, as they tell
    each other. Safe to use from one thread.

    `urls`: as in `http://user:password@host:9093/prefix`. `page`: address of the daemon's own UI,
    for links. `runbooks`: address of the folder of runbooks. `transport`: for tests. Raises
    `ConfigError`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        clock: Clock,
        page: str = "http://127.0.0.1:8686",
        runbooks: str = "docs/runbooks",
        timeout_s: float = 5.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._targets = [_target(url) for url in urls]
        self._clock = clock
        self._page = page.rstrip("/")
        self._runbooks = runbooks.rstrip("/")
        self._client = httpx2.Client(
            timeout=timeout_s,
            follow_redirects=False,
            transport=transport,
            headers={"User-Agent": "telltale"},
        )

    def send(self, alerts: Sequence[Alert]) -> None:
        """Alerts that hold. Raises `RetryableError`, or `Rejected` where a repeat is no use."""
        ends_ns = self._clock.now_ns() + int(FIRING_S * 1e9)
        self._post([self._entry(alert, ends_ns) for alert in alerts])

    def resolve(self, alerts: Sequence[Alert]) -> None:
        """Alerts that have ended. Raises as `send`."""
        now_ns = self._clock.now_ns()
        self._post([self._entry(alert, now_ns) for alert in alerts])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _entry(self, alert: Alert, ends_ns: int) -> dict[str, Any]:
        name = alert_name(alert)
        page = f"{self._page}/alerts/{quote(alert.alert_id, safe='')}"
        return {
            "labels": {
                "alertname": name,
                "alert_id": clean(alert.alert_id),
                "kind": alert.kind,
                "subject": clean(alert.subject.label()),
                "category": clean(alert.category) or "-",
                "reference": clean(alert.reference) or "-",
                "severity": alert.severity,
                "sender": "telltale",
            },
            "annotations": {
                "summary": plain(alert.summary),
                "runbook_url": f"{self._runbooks}/{name}.md",
                "page": page,
            },
            "startsAt": _rfc3339(alert.raised_ns),
            "endsAt": _rfc3339(max(ends_ns, alert.raised_ns + 1_000_000)),
            "generatorURL": page,
        }

    def _post(self, entries: list[dict[str, Any]]) -> None:
        body = json.dumps(entries).encode()
        taken, rejected, failures = 0, 0, list[str]()
        for target in self._targets:
            try:
                with self._client.stream(
                    "POST", target, content=body, headers={"Content-Type": "application/json"}
                ) as response:
                    status = response.status_code
            except httpx2.HTTPError as error:
                failures.append(f"{target.host}: {type(error).__name__}")
                continue
            if status // 100 == 2:
                taken += 1
            elif status in (400, 413, 422):
                rejected += 1
                failures.append(f"{target.host}: {status}")
            else:
                failures.append(f"{target.host}: {status}")
        if failures:
            log.warning("not taken by every Alertmanager: %s", ", ".join(failures))
        if taken or not self._targets:
            return
        if rejected:
            raise Rejected(f"Alertmanager refused the alerts ({', '.join(failures)})")
        raise RetryableError(f"no Alertmanager took the alerts ({', '.join(failures)})")


def alert_name(alert: Alert) -> str:
    """The name of the Prometheus rule that speaks of the same thing; its runbook has that name."""
    if alert.kind == "drift":
        return "TelltaleDrift"
    if alert.kind == "ceiling":
        return "TelltaleCeilingBroken"
    if alert.reference.startswith(BLIND):
        return "TelltaleWentBlind"
    return _NAMES.get(alert.reference, "TelltaleTampering")


def _target(url: str) -> httpx2.URL:
    try:
        urlsplit(url)  # stricter about brackets
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigError("alertmanager.urls", "not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            "alertmanager.urls", "must begin with http:// or https:// and name a host"
        )
    return parsed.copy_with(path=parsed.path.rstrip("/") + "/api/v2/alerts")


def _rfc3339(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1_000:03d}Z"
