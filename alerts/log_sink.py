"""Where alerts go when no Alertmanager is configured: the log, by id, without content."""

import logging
from collections.abc import Sequence

from contracts.verdict import Alert

log = logging.getLogger(__name__)


class LogSink:
    """A `Pager` that never fails. The alert itself is in the store and in the metrics.

    Deliver to it with `repeat_s` infinite: a log forgets nothing.
    """

    def send(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            log.warning(
                "alert raised: %s %s %s %s",
                alert.alert_id,
                alert.kind,
                alert.category or "-",
                alert.severity,
            )

    def resolve(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            log.info("alert ended: %s", alert.alert_id)
