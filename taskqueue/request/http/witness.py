"""A transport that tells each step of a request as it is made, for somebody who watches one attempt."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

from taskqueue.redact import safe_headers
from taskqueue.request.http.connection import PlainConnection
from taskqueue.request.http.dial import Found, system_resolve
from taskqueue.request.http.transport import Outgoing, Reply, Transport
from taskqueue.settings import QueueSettings

Tell = Callable[[str, str], None]
"""Gets the name of a step and what there is to say of it: a line, and maybe more below it."""
_SHOWN = 2000


class Witness:
    """Makes requests as Transport does; `tell` gets each step when it is over. Credentials are hidden.

    `known` are the names of headers, in lower case, that hold none.
    """

    def __init__(
        self, settings: QueueSettings, known: frozenset[str], tell: Tell, *, needs_bodies: bool
    ) -> None:
        self._transport = Transport(
            settings, None, self._resolved, needs_bodies=needs_bodies, opened=self._opened
        )
        self._proxied = settings.proxy is not None
        self._known = known
        self._tell = tell
        self._request: Outgoing | None = None

    def send(self, request: Outgoing, ends: float) -> Reply:
        """Make a request and read its answer before `ends` (monotonic); raises RequestFailed."""
        self._request = request
        reply = self._transport.send(request, ends)
        self._tell("answer", _answer(reply))
        return reply

    def host(self, url: str) -> str:
        """Name the host that a request to this URL goes to."""
        return self._transport.host(url)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def _resolved(self, host: str, port: int) -> Sequence[Found]:
        found = system_resolve(host, port)
        addresses = dict.fromkeys(address[0] for _, address in found)
        if host not in addresses:
            self._tell("name", f"{host} is {', '.join(addresses)}")
        return found

    def _opened(self, connection: PlainConnection) -> None:
        sock: Any = connection.sock
        proxy = "the proxy at " if self._proxied else ""
        host, port = sock.getpeername()[:2]
        self._tell("address", f"connected to {proxy}{host} port {port}")
        if isinstance(sock, ssl.SSLSocket):
            self._tell("TLS", _tls(sock))
        if self._request is not None:
            self._tell("request", _written(self._request, self._known))
            self._request = None


def _tls(sock: ssl.SSLSocket) -> str:
    certificate: Any = sock.getpeercert() or {}
    cipher = (sock.cipher() or ("no cipher",))[0]
    names = ", ".join(name for _, name in certificate.get("subjectAltName", ()))
    issuer = ", ".join(value for part in certificate.get("issuer", ()) for _, value in part)
    return (
        f"{sock.version()}, {cipher}\ncertificate for {names}, by {issuer}, "
        f"until {certificate.get('notAfter', 'nobody knows')}"
    )


def _written(request: Outgoing, known: frozenset[str]) -> str:
    headers = [f"{name}: {value}" for name, value in safe_headers(request.headers, known).items()]
    return "\n".join([f"{request.method} {request.url}", *headers, *_body(request.body or b"")])


def _answer(reply: Reply) -> str:
    headers = [f"{name}: {value}" for name, value in safe_headers(reply.head.joined()).items()]
    cut = () if reply.whole else ("the body was longer, and was read only so far",)
    return "\n".join([f"status {reply.status} from {reply.host}", *headers, *_body(reply.body), *cut])


def _body(body: bytes) -> list[str]:
    text = body.decode(errors="backslashreplace")
    more = [f"… and {len(text) - _SHOWN:,} characters more"] if len(text) > _SHOWN else []
    return [*([text[:_SHOWN]] if text else []), *more]
