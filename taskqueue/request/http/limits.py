"""Sockets that know when their exchange ends.

The timeout of a socket is per call, and a receiver that drips a byte a second never meets it. These
sockets set the time that is left before each call, and count what they receive.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

SLACK = 0.05
"""Seconds that a call may outlast its exchange. This spares most calls the system call for a new timeout."""


class Allowance:
    """The time that one exchange may still take. The connection and its sockets share it."""

    __slots__ = ("ends", "received")

    def __init__(self) -> None:
        self.ends = 0.0
        self.received = 0

    def begin(self, ends: float) -> None:
        """Start an exchange that ends at `ends` (monotonic)."""
        self.ends = ends
        self.received = 0

    def hurry(self, seconds: float) -> None:
        """Have the exchange end in so many seconds, if not before."""
        self.ends = min(self.ends, monotonic() + seconds)

    def left(self) -> float:
        """Give the seconds that are left; raises TimeoutError where there are none."""
        left = self.ends - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class LimitedSocket(socket.socket):
    """A socket whose calls keep to an Allowance, once it has one."""

    allowance: Allowance | None = None
    _blocks = True

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout of the next calls; a system call only where it changes."""
        if value != self.gettimeout():
            super().settimeout(value)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into a buffer, in the time that is left."""
        self._hurry()
        count = super().recv_into(buffer, nbytes or 0, flags)
        if self.allowance is not None:
            self.allowance.received += count
        return count

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, in the time that is left."""
        self._hurry()
        data = super().recv(buflen, flags)
        if self.allowance is not None:
            self.allowance.received += len(data)
        return data

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send some, in the time that is left."""
        self._hurry()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all, in the time that is left."""
        self._hurry()
        super().sendall(data, flags)

    @contextmanager
    def unblocked(self) -> Iterator[None]:
        """Make calls raise as on a socket that does not block; `wait` waits in their place."""
        self._blocks = False
        self.settimeout(0)
        try:
            yield
        finally:
            self._blocks = True

    def wait(self, events: int) -> bool:
        """Wait for one of these events of select.poll, and tell whether there is something to read."""
        poll = select.poll()
        poll.register(self, events)
        found = poll.poll(self.allowance.left() * 1000 if self.allowance else None)
        return any(event & ~select.POLLOUT for _, event in found)

    def _hurry(self) -> None:
        if self.allowance is None:
            return
        left = self.allowance.left()
        timeout = self.gettimeout()
        if self._blocks and (timeout is None or not left <= timeout <= left + SLACK):
            super().settimeout(left)


class LimitedTLSSocket(LimitedSocket, ssl.SSLSocket):
    """The same with TLS: an SSLContext makes these by its `sslsocket_class`."""
