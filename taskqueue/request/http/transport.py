"""One request and its answer: a kept connection or a new one, redirects, a bounded body."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from time import monotonic
from typing import Protocol
from urllib.parse import urljoin

from taskqueue.request.http import fault, target
from taskqueue.request.http.answer import Head
from taskqueue.request.http.connection import PlainConnection
from taskqueue.request.http.dial import Dialer, Resolve, system_resolve
from taskqueue.request.http.fault import Blame, RequestFailed
from taskqueue.request.http.guard import Guard
from taskqueue.request.http.pools import PlainPool
from taskqueue.request.http.route import Route
from taskqueue.request.http.target import Origin
from taskqueue.settings import QueueSettings

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS = frozenset({"authorization", "cookie"})
log = logging.getLogger(__name__)


class Outgoing(Protocol):
    """What the transport reads of a request: handlers.Request fits, and is not imported here."""

    @property
    def method(self) -> str:
        """The method."""

    @property
    def url(self) -> str:
        """The whole URL."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names and values, already fit for HTTP."""

    @property
    def body(self) -> bytes | None:
        """The body, None for none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    status: int
    head: Head
    body: bytes
    whole: bool
    """False where the body was longer than LARGEST_BODY, and was read only so far."""
    host: str
    """The host that gave it."""


class Exchanges(Protocol):
    """What makes the requests of a queue: Transport, or what stands in its place in a test."""

    def send(self, request: Outgoing, ends: float) -> Reply:
        """Make a request and read its answer before `ends` (monotonic); raises RequestFailed."""

    def host(self, url: str) -> str:
        """Name the host that a request to this URL goes to."""

    def close(self) -> None:
        """Close the connections that are kept."""


@dataclass(frozen=True, slots=True)
class _Hop:
    origin: Origin
    target: str
    method: str
    headers: Mapping[str, str]
    body: bytes | None


class _Stale(Exception):
    """A kept connection had been given up by the other end before the request reached it whole."""


def _check_tired(connection: PlainConnection, status: int) -> None:
    """Raise _Stale for a 408 to a request of which a part was never sent.

    The other end was tired of waiting, and can't have read the whole request (RFC 9110, 15.5.9). Of one that
    was sent nobody knows, so its 408 counts as any status does.
    """
    if status == HTTPStatus.REQUEST_TIMEOUT and not connection.sent:
        raise _Stale


class Transport:
    """Makes the requests of one queue. The threads of the queue share it.

    `opened` gets each connection that was made, before the first request on it.
    """

    def __init__(
        self,
        settings: QueueSettings,
        context: ssl.SSLContext | None,
        resolve: Resolve = system_resolve,
        *,
        needs_bodies: bool = True,
        opened: Callable[[PlainConnection], None] | None = None,
    ) -> None:
        """Take a queue's settings; without `needs_bodies` a status may stand before the body has come."""
        self._settings = settings
        self._needs_bodies = needs_bodies
        self._opened = opened
        self._guard = Guard(settings)
        if settings.deny_networks and (left := self._guard.open_by_default()):
            log.warning(
                "%s: deny_networks leaves open %s, where clouds serve credentials: add the word default",
                settings.name, ", ".join(left),
            )  # fmt: skip
        dialer = Dialer(self._guard, settings.connect_timeout, resolve)
        self._route = Route(settings, dialer, context)
        self._origin = lru_cache(maxsize=256)(self._checked)

    def send(self, request: Outgoing, ends: float) -> Reply:
        """Make a request and read its answer before `ends` (monotonic).

        Raises RequestFailed and nothing else, whatever a URL or an answer holds.
        """
        origin, path = self._place(request.url)
        hop = _Hop(origin, path, request.method, request.headers, request.body)
        redirects = 0
        while True:
            reply = self._exchange(hop, ends)
            if not self._settings.follow_redirects or reply.status not in REDIRECTS:
                return reply
            location = reply.head.first("location")
            if location is None:
                return reply
            redirects += 1
            if redirects > MOST_REDIRECTS:
                raise RequestFailed(f"more than {MOST_REDIRECTS} redirects", reply.status)
            hop = self._redirected(hop, location, reply.status)

    def host(self, url: str) -> str:
        """Name the host that a request to this URL goes to first; raises RequestFailed as `send` does."""
        return self._place(url)[0].host

    def close(self) -> None:
        """Close the connections that are kept."""
        self._route.close()

    def _place(self, url: str) -> tuple[Origin, str]:
        scheme, authority, path = target.split(url)
        return self._origin(scheme, authority), path

    def _checked(self, scheme: str, authority: str) -> Origin:
        origin = target.origin(scheme, authority)
        self._guard.check_name(origin.host)
        if self._route.is_proxied:
            self._guard.check_literal(origin.host)
        return origin

    def _redirected(self, hop: _Hop, location: str, status: int) -> _Hop:
        # Headers are read as Latin-1. What is not ASCII in a Location is UTF-8 in practice.
        location = location.strip(" \t").encode("latin-1", "replace").decode(errors="replace")
        try:
            origin, path = self._place(urljoin(hop.origin.url + hop.target, location))
        except (RequestFailed, ValueError) as error:
            raise RequestFailed(f"redirect to {target.quoted(location)}: {error}", status) from error
        headers = hop.headers
        if origin != hop.origin:
            headers = {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
        return replace(hop, origin=origin, target=path, headers=headers)

    def _exchange(self, hop: _Hop, ends: float) -> Reply:
        pool = self._pool(hop.origin)
        connection = pool.take()
        try:
            if not connection.is_closed:
                try:
                    return self._talk(connection, hop, ends, kept=True)
                except _Stale:
                    log.debug("%s gave a kept connection up, trying a new one", hop.origin.where)
            self._open(pool, connection, hop, ends)
            return self._talk(connection, hop, ends, kept=False)
        finally:
            pool.give(connection)

    def _pool(self, origin: Origin) -> PlainPool:
        try:
            return self._route.pool(origin)
        except OSError as error:
            raise self._no_connection(error, origin, math.inf) from error

    def _open(self, pool: PlainPool, connection: PlainConnection, hop: _Hop, ends: float) -> None:
        connection.begin(ends)
        try:
            pool.open(connection)
        except RequestFailed:
            connection.close()
            raise
        except Exception as error:
            connection.close()
            raise self._no_connection(error, hop.origin, ends) from error
        if self._opened is not None:
            self._opened(connection)

    def _no_connection(self, error: Exception, origin: Origin, ends: float) -> RequestFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            try:
                fault.check_descriptors()
            except OSError as short:
                error = short
        if (short_of := fault.short_of(error)) is not None:
            self._route.spare(origin)
            return RequestFailed(short_of, blame=Blame.SENDER)
        if isinstance(error, TimeoutError) and monotonic() >= ends:
            return RequestFailed(f"timed out after {self._settings.timeout:g} s")
        where = self._route.where(origin)
        return RequestFailed(fault.while_connecting(error, where, self._settings.connect_timeout))

    def _talk(self, connection: PlainConnection, hop: _Hop, ends: float, *, kept: bool) -> Reply:
        status: int | None = None
        try:
            connection.begin(ends)
            path, headers = self._route.dress(hop.origin, hop.target, hop.headers)
            connection.post(hop.method, path, hop.origin.authority, hop.body, headers)
            head = connection.head()
            status = head.status
            if kept:
                _check_tired(connection, status)
            body, whole = connection.body(head, needed=self._needs_bodies)
            return Reply(status, head, body, whole, hop.origin.host)
        except _Stale:
            raise
        except Exception as error:
            answered = connection.allowance.received > 0
            if kept and not answered and isinstance(error, fault.CLOSED):
                raise _Stale from error
            if not answered and (short_of := fault.short_of(error)) is not None:
                raise RequestFailed(short_of, blame=Blame.SENDER) from error
            text = fault.while_talking(error, hop.origin.where, self._settings.timeout, answered=answered)
            raise RequestFailed(text, status) from error
        finally:
            if not connection.reusable:
                connection.close()
