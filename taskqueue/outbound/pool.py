"""Connections that wait for their next request: a stack for each origin, the warmest on top."""

from __future__ import annotations

import threading
from collections import OrderedDict

from taskqueue.outbound.connection import PlainConnection
from taskqueue.outbound.target import Origin

MOST_ORIGINS = 100
"""Origins whose connections are kept; those used longest ago are closed first."""


class Pool:
    """Idle connections, shared by the threads of a queue."""

    def __init__(self, size: int, origins: int = MOST_ORIGINS) -> None:
        self._size = size
        self._origins = origins
        self._idle: OrderedDict[Origin, list[PlainConnection]] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def take(self, origin: Origin) -> PlainConnection | None:
        """Take a connection that is alive as far as one can see, if there is any."""
        while True:
            with self._lock:
                stack = self._idle.get(origin)
                if not stack:
                    return None
                connection = stack.pop()
            # Closed by the other end, or with something to read that nobody asked for.
            if connection.is_connected:
                return connection
            connection.close()

    def give(self, origin: Origin, connection: PlainConnection) -> None:
        """Put back a connection whose answer was read to its end."""
        surplus: list[PlainConnection] = []
        with self._lock:
            stack = self._idle.setdefault(origin, [])
            self._idle.move_to_end(origin)
            if self._closed or len(stack) >= self._size:
                surplus.append(connection)
            else:
                stack.append(connection)
            if len(self._idle) > self._origins:
                surplus += self._idle.popitem(last=False)[1]
        for each in surplus:
            each.close()

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        with self._lock:
            self._closed = True
            stacks = list(self._idle.values())
            self._idle.clear()
        for connection in (each for stack in stacks for each in stack):
            connection.close()
