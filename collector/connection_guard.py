"""Deadlines and a bound on connections, for uvicorn, which has neither for slow clients."""

import asyncio
from collections import Counter
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector.receiver_limits import ReceiverLimits


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 connection with a deadline for headers and one for the body.

    The deadlines are over the whole of each, so a byte a second gains nothing. uvicorn alone keeps
    a half-open request for ever: of 800, 800 were there after 40 s. A subclass, made by `guarded`,
    carries the limits.
    """

    limits = ReceiverLimits()

    _deadline: asyncio.TimerHandle | None = None
    _receiving_body = False
    _since = 0.0

    @property
    def _owes_bytes(self) -> bool:
        """Whether we wait for the client (and not the client for us)."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._since = self.loop.time()
        self._arm(self.limits.header_timeout_s)
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._arm(self.limits.header_timeout_s)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._disarm()  # idle between requests: uvicorn's keep-alive timer holds now

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _follow(self) -> None:
        """Set the deadline for the state that the connection has come to."""
        state = self.conn.their_state
        if state is h11.SEND_BODY and not self._receiving_body:
            self._receiving_body = True
            self._arm(self.limits.body_timeout_s)
        elif state is not h11.SEND_BODY and (self._receiving_body or state is not h11.IDLE):
            self._receiving_body = False
            self._disarm()

    def _arm(self, timeout_s: float) -> None:
        self._disarm()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        """Close the longest-waiting connection of the peer that holds most of those that wait."""
        waiting = [
            other
            for other in cast("set[GuardedProtocol]", self.connections)
            if other is not self and other._owes_bytes
        ]
        if not waiting:
            self.transport.abort()
            return
        busiest = Counter(other._peer for other in waiting).most_common(1)[0][0]
        victim = min(
            (other for other in waiting if other._peer == busiest), key=lambda other: other._since
        )
        self.connections.discard(victim)  # now, not when its transport has closed
        victim.transport.abort()


def guarded(limits: ReceiverLimits) -> type[GuardedProtocol]:
    """A protocol class for `uvicorn.Config(http=...)` with these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})
