"""urllib3's connections with a deadline for the whole exchange, and an answer of bounded size."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from taskqueue.request.http.answer import Head, framing
from taskqueue.request.http.dial import Dialer
from taskqueue.request.http.head import request_head
from taskqueue.request.http.incoming import Incoming
from taskqueue.request.http.limits import Allowance, LimitedSocket
from taskqueue.request.http.outgoing import send

LARGEST_BODY = 64 * 1024
"""Most bytes of an answer's body that are read. After a longer body the connection is closed."""


class PlainConnection(HTTPConnection):
    """A connection of a pool: connect() once; then begin(), post(), head() and body() for each exchange."""

    auto_open = 0  # connecting is a separate step, as an error in it means something else

    def __init__(self, host: str, port: int, *, dialer: Dialer, **options: Any) -> None:
        super().__init__(host, port, **options)
        self.allowance = Allowance()
        self.reusable = False
        """Whether the last exchange is over and another may follow it."""
        self._dialer = dialer
        self._incoming: Incoming
        self._asked = ""
        self.sent = False
        """Whether the other end has taken the whole of the last request."""

    def begin(self, ends: float) -> None:
        """Start an exchange that has to be over at `ends` (monotonic)."""
        self.allowance.begin(ends)
        self.reusable = False

    def connect(self) -> None:
        """Connect, through the tunnel of a proxy and TLS if need be; raises OSError or RequestFailed."""
        super().connect()
        if isinstance(self.sock, LimitedSocket):
            self.sock.allowance = self.allowance

    def _new_conn(self) -> LimitedSocket:
        # The operator chose the proxy. deny_networks is about URLs, which messages choose.
        checked = self.proxy is None
        # urllib3 leaves a proxy's IPv6 address in its brackets.
        host = self._dns_host.strip("[]")
        sock = self._dialer.dial(host, self.port, self.allowance.ends, checked=checked)
        sock.allowance = self.allowance
        return sock

    def post(
        self, method: str, target: str, authority: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Send a request, or as much of it as the other end takes."""
        self._asked = method
        self._incoming = Incoming(self._socket)
        head = request_head(method, target, authority, headers, body)
        self.sent = send(self._socket, head, body, self._incoming)

    def head(self) -> Head:
        """Read the head of the answer; raises BadAnswer or OSError."""
        return self._incoming.head()

    def body(self, head: Head, *, needed: bool) -> tuple[bytes, bool]:
        """Read the body up to LARGEST_BODY bytes, and tell whether that was all of it.

        Where it is not `needed`, an end that nobody can know is not waited for. Raises BadAnswer or OSError.
        """
        framed = framing(head, self._asked)
        body, whole = self._incoming.body(framed, LARGEST_BODY, needed=needed)
        # After a byte more or less than was announced nobody knows where the next answer begins.
        self.reusable = whole and framed.keeps and self.sent and self._incoming.drained
        return body, whole

    @property
    def _socket(self) -> LimitedSocket:
        if not isinstance(self.sock, LimitedSocket):
            raise http.client.NotConnected
        return self.sock


class TLSConnection(PlainConnection, HTTPSConnection):
    """The same over TLS. The handshake is a part of connecting."""
