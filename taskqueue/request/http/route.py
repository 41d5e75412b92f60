"""How an origin is reached: directly, or through the queue's proxy. The environment's proxy is not used."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import cast
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, make_headers, parse_url

from taskqueue.errors import ConfigError
from taskqueue.request.http.dial import Dialer
from taskqueue.request.http.fault import check_descriptors
from taskqueue.request.http.limits import LimitedTLSSocket
from taskqueue.request.http.pools import PlainPool, key_of, manager
from taskqueue.request.http.target import PORTS, Origin
from taskqueue.settings import QueueSettings


class Route:
    """Holds the pool of each origin. `context` verifies TLS, else the system's CAs do."""

    def __init__(self, settings: QueueSettings, dialer: Dialer, context: ssl.SSLContext | None) -> None:
        self._given = context or _own_context(settings)
        self._proxy = _proxy(settings)
        self._credentials: dict[str, str] = {}
        if self._proxy is not None and self._proxy.auth:
            self._credentials = make_headers(proxy_basic_auth=unquote(self._proxy.auth))
        # As many places as threads, so that every connection finds a place when it comes back.
        self._pools = manager(self._proxy, self._credentials, maxsize=settings.concurrency, dialer=dialer)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        # Made at its first use: the system's CAs take a megabyte for each queue.
        context = self._given
        if context is None:
            # Without a descriptor the context would be made without CAs, and trust nobody for ever.
            check_descriptors()
            context = ssl.create_default_context()
        # The socket of the handshake keeps to the deadline like any other.
        context.sslsocket_class = LimitedTLSSocket
        return context

    @property
    def is_proxied(self) -> bool:
        """Tell whether a proxy resolves the names."""
        return self._proxy is not None

    def where(self, origin: Origin) -> str:
        """Name the other end of the connection, for operators."""
        if self._proxy is None:
            return origin.where
        return f"proxy {self._proxy.host}:{self._proxy.port} for {origin.where}"

    def pool(self, origin: Origin) -> PlainPool:
        """Give the pool of connections to an origin."""
        # Looked up by the origin: connection_from_host would first build the context of a new pool.
        found = self._pools.pools.get(key_of(origin)) if self._proxy is None else None
        if found is None:
            trust = {"ssl_context": self._context} if origin.scheme == "https" else None
            found = self._pools.connection_from_host(origin.host, origin.port, origin.scheme, trust)
        return cast("PlainPool", found)

    def spare(self, origin: Origin) -> None:
        """Close the idle connections of all other origins, as there are too few descriptors."""
        pools = self._pools.pools
        for key in pools.keys() - {key_of(origin)}:
            with suppress(KeyError):
                del pools[key]

    def close(self) -> None:
        """Close idle connections. A connection in use is closed when it comes back, as its pool is gone."""
        self._pools.clear()

    def dress(self, origin: Origin, path: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Give the request target and the headers that the next hop needs (RFC 9112, 3.2.2)."""
        if self._proxy is None or origin.scheme == "https":
            return path, headers
        return origin.url + path, {**headers, **self._credentials}


def _own_context(settings: QueueSettings) -> ssl.SSLContext | None:
    """Read the TLS files of the queue, so that a bad file is known before the first request."""
    key, own, secret = "request_ca_file", settings.request_cert_file, settings.request_key_file
    if settings.request_ca_file is None and own is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.request_ca_file)
        key = "request_cert_file"
        if own is not None:
            # Without the callback OpenSSL would ask for a passphrase on the terminal.
            context.load_cert_chain(own, secret, password=lambda: "")
    except OSError as error:
        msg = f"queue {settings.name}: {key}: can't use {getattr(settings, key)}: {error}"
        raise ConfigError(msg) from error
    return context


def _proxy(settings: QueueSettings) -> Url | None:
    if settings.proxy is None:
        return None
    wrong = f"queue {settings.name}: proxy: must be http://[user:password@]host[:port]"
    try:
        url = parse_url(settings.proxy)
    except LocationParseError:
        raise ConfigError(wrong) from None  # its text holds the password
    return url._replace(port=url.port or PORTS["http"])
