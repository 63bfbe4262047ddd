"""Connections of the web server: a request's head has to come within seconds, and of too many connections the one that has waited
longest for a head is closed, so that half-sent requests keep no other request out.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 5.0  # from the first byte, or from the opening of a connection, to the end of the head
MOST_OPEN = 128  # connections, below the number from which uvicorn refuses requests


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with these bounds."""

    _deadline: asyncio.TimerHandle | None = None
    _waiting_since: float | None = None  # for a head; None while a request is answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > MOST_OPEN:
            waiting = [
                (other._waiting_since, id(other), other)
                for other in self.connections
                if isinstance(other, BoundedProtocol) and other._waiting_since is not None
            ]
            *_, longest = min(waiting)  # there is one: this one
            longest._waiting_since = None
            longest.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._wait()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
            self._waiting_since = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is not h11.DONE and self._waiting_since is None:
            self._waiting_since = self.loop.time()  # for the next request, or for a body that no page reads

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting_since = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()
