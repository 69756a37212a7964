"""Where alerts go when no Alertmanager is configured: the log, by id, without content."""

import logging
from collections import OrderedDict
from collections.abc import Sequence

from contracts.verdict import Alert

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Alerts known to have been logged; repeats of them are not logged again."""


class LogSink:
    """A `Pager` that never fails. The alert itself is in the store and in the metrics."""

    def __init__(self) -> None:
        self._logged: OrderedDict[str, None] = OrderedDict()

    def send(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            if alert.alert_id in self._logged:
                continue
            self._logged[alert.alert_id] = None
            log.warning(
                "alert raised: %s %s %s %s",
                alert.alert_id,
                alert.kind,
                alert.category or "-",
                alert.severity,
            )
        while len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)

    def resolve(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            log.info("alert ended: %s", alert.alert_id)
