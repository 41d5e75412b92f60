"""urllib3's connections with a deadline for the whole exchange, and an answer of bounded size."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from taskqueue.outbound.dial import Dialer
from taskqueue.outbound.head import Response, request_head
from taskqueue.outbound.limits import Allowance, LimitedSocket, TooMuch

LARGEST_HEAD = 128 * 1024
"""Bytes that status line and headers may take; http.client alone would take 6 MiB."""
_ONE_PACKET = 64 * 1024


class PlainConnection(HTTPConnection):
    """A connection of a pool: connect(), then post() and answer() in turn, after begin()."""

    auto_open = 0  # connecting is a step of its own: an error in it means another thing

    def __init__(self, host: str, port: int, *, dialer: Dialer, **options: Any) -> None:
        super().__init__(host, port, **options)
        self.allowance = Allowance()
        self.unsent = False
        """The last request was not sent whole: its answer came early, or none."""
        self._dialer = dialer
        self._asked = ""

    def begin(self, ends: float) -> None:
        """Start an exchange that has to be over at `ends` (monotonic)."""
        self.allowance.begin(ends, LARGEST_HEAD)

    def connect(self) -> None:
        """Connect, through the tunnel of a proxy and TLS if need be; raises OSError or RequestFailed."""
        super().connect()
        if isinstance(self.sock, LimitedSocket):
            self.sock.allowance = self.allowance

    def _new_conn(self) -> LimitedSocket:
        # A proxy is the operator's choice; the networks are denied to messages.
        checked = self.proxy is None
        sock = self._dialer.dial(self._dns_host, self.port, self.allowance.ends, checked=checked)
        sock.allowance = self.allowance
        return sock

    def post(
        self, method: str, target: str, authority: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Send a request, in one packet if it fits: half the system calls, and no wait for an ACK.

        A receiver may answer and close before it has read everything: that answer is still to be
        read, so a closed connection is no error here.
        """
        self.unsent = True
        self._asked = method
        head = request_head(method, target, authority, headers, body)
        try:
            if body and len(body) > _ONE_PACKET:
                self._socket.sendall(head)
                self._socket.sendall(body)
            else:
                self._socket.sendall(head + body if body else head)
            self.unsent = False
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            return

    def answer(self) -> Response:
        """Read the head of the answer."""
        response = Response(self._socket, method=self._asked)
        try:
            response.begin()
        except TooMuch:
            response.close()
            raise http.client.HTTPException(f"more than {LARGEST_HEAD} bytes of headers") from None
        except BaseException:
            response.close()
            raise
        if self.allowance.closed:
            # http.client takes what it got for all there was, be it half a status line.
            response.close()
            raise http.client.IncompleteRead(b"")
        return response

    @property
    def _socket(self) -> socket.socket:
        if self.sock is None:
            raise http.client.NotConnected
        return self.sock


class TLSConnection(PlainConnection, HTTPSConnection):
    """The same over TLS, whose handshake is a part of connecting."""
