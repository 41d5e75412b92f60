"""urllib3's connections with a deadline for the whole exchange, and an answer of bounded size."""

from __future__ import annotations

import http
import http.client
import ssl
from collections.abc import Mapping
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from taskqueue.outbound.dial import Dialer
from taskqueue.outbound.limits import Allowance, LimitedSocket, TooMuch

LARGEST_HEAD = 128 * 1024
"""Bytes that status line and headers may take; http.client alone would take 6 MiB."""
MOST_INTERIM = 20
"""Interim answers (1xx) before the one that counts."""
_ONE_PACKET = 64 * 1024
_SWITCHING = http.HTTPStatus.SWITCHING_PROTOCOLS


class Response(http.client.HTTPResponse):
    """An answer; http.client takes 103 for a final one, and would read the real one as the next."""

    def begin(self) -> None:
        """Read the head of the final answer."""
        super().begin()
        for _ in range(MOST_INTERIM):
            if self.status >= http.HTTPStatus.OK or self.status == _SWITCHING:
                return
            self.headers = None  # type: ignore[assignment]  # it is how begin() knows that it has not begun
            super().begin()
        raise http.client.HTTPException("too many interim answers")


class PlainConnection(HTTPConnection):
    """A kept connection: connect(), then request() and getresponse() in turn, after begin()."""

    response_class = Response
    auto_open = 0  # connecting is a step of its own: an error in it means another thing

    def __init__(self, host: str, port: int, *, dialer: Dialer, timeout: float, **options: Any) -> None:
        super().__init__(host, port, timeout=timeout, **options)
        self.allowance = Allowance()
        self.unsent = False
        """The last request was not sent whole: its answer came early, or none."""
        self._dialer = dialer
        self._held: list[bytes] | None = None

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

    def post(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send a request, in one packet if it fits: half the system calls, and no wait for an ACK.

        A receiver may answer and close before it has read everything: that answer is still to be
        read, so a closed connection is no error here.
        """
        self._held = []
        self.unsent = True
        try:
            self.request(method, target, body, headers)
            self._flush()
            self.unsent = False
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            return
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        """Hold back what urllib3 sends piece by piece; what is large goes out by itself."""
        if self._held is None:
            super().send(data)
        elif len(data) <= _ONE_PACKET:
            self._held.append(data)
        else:
            self._flush()
            super().send(data)

    def _flush(self) -> None:
        held = self._held
        if held:
            super().send(b"".join(held))
            held.clear()

    def answer(self) -> http.client.HTTPResponse:
        """Read the head of the answer, as http.client has it: urllib3's wrapper costs a third more."""
        try:
            response = http.client.HTTPConnection.getresponse(self)
        except TooMuch:
            raise http.client.HTTPException(f"more than {LARGEST_HEAD} bytes of headers") from None
        if self.allowance.closed:
            # http.client takes what it got for all there was, be it half a status line.
            response.close()
            raise http.client.IncompleteRead(b"")
        return response


class TLSConnection(PlainConnection, HTTPSConnection):
    """The same over TLS, whose handshake is a part of connecting."""

    def __init__(
        self, host: str, port: int, *, dialer: Dialer, timeout: float, context: ssl.SSLContext, **options: Any
    ) -> None:
        super().__init__(host, port, dialer=dialer, timeout=timeout, ssl_context=context, **options)
