"""Sockets that know when their exchange ends and how much may still come.

A timeout of a socket is per call, and a receiver that drips a byte a second never meets it. These
take the time that is left before each call, and count what they receive.
"""

from __future__ import annotations

import socket
import ssl
from time import monotonic
from typing import Any

SLACK = 0.05
"""Seconds that a call may outlast its exchange: it spares a system call for each in the usual case."""


class TooMuch(Exception):
    """More bytes came than an exchange may receive."""


class Allowance:
    """What one exchange on a connection may still take; the connection and its sockets share it."""

    __slots__ = ("closed", "ends", "received", "room")

    def __init__(self) -> None:
        self.ends = 0.0
        self.room = 0
        self.received = 0
        self.closed = False
        """The other end has closed, and everything it sent was received."""

    def begin(self, ends: float, room: int) -> None:
        """Start an exchange that ends at `ends` (monotonic) and may receive `room` bytes."""
        self.ends = ends
        self.room = room
        self.received = 0
        self.closed = False


class LimitedSocket(socket.socket):
    """A socket whose calls keep to an Allowance, once it has one."""

    allowance: Allowance | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout of the next calls; a system call only where it changes."""
        if value != self.gettimeout():
            super().settimeout(value)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into a buffer, in the time and room that are left."""
        self._hurry()
        return self._count(super().recv_into(buffer, nbytes or 0, flags))

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, in the time and room that are left."""
        self._hurry()
        data = super().recv(buflen, flags)
        self._count(len(data))
        return data

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send some, in the time that is left."""
        self._hurry()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all, in the time that is left."""
        self._hurry()
        super().sendall(data, flags)

    def _hurry(self) -> None:
        if self.allowance is None:
            return
        left = self.allowance.ends - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        timeout = self.gettimeout()
        if timeout is None or not left <= timeout <= left + SLACK:
            super().settimeout(left)

    def _count(self, count: int) -> int:
        allowance = self.allowance
        if allowance is not None:
            allowance.received += count
            allowance.room -= count
            allowance.closed = count == 0
            if allowance.room < 0:
                raise TooMuch
        return count


class LimitedTLSSocket(LimitedSocket, ssl.SSLSocket):
    """The same with TLS: an SSLContext makes these by its `sslsocket_class`."""
