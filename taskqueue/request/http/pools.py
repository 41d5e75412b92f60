"""urllib3's pools, whose connections are ours.

urllib3 keeps idle connections, checks that one is still alive before it is used again, bounds their number,
and leads https through a proxy's tunnel. Its `urlopen` is left out. That writes every URL anew (``%2f``
becomes ``%2F``, ``|`` becomes ``%7C``), so that a receiver sees another URL than the one that was sent. It
costs a third of the whole request (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from functools import partial
from queue import LifoQueue
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.poolmanager import PoolKey
from urllib3.util import Url

from taskqueue.request.http.connection import PlainConnection, TLSConnection
from taskqueue.request.http.target import Origin

MOST_ORIGINS = 100
"""Origins whose connections are kept. Those that were used longest ago are closed first."""


class _Kept(LifoQueue[PlainConnection | None]):
    """The places of a pool: what is open comes first, as there may be no descriptor to open anything."""

    def _put(self, item: PlainConnection | None) -> None:
        if item is None or item.is_closed:
            self.queue.insert(0, item)
        else:
            self.queue.append(item)


class PlainPool(HTTPConnectionPool):
    """The connections to one origin: take(), open() it where it is closed, and give() it back."""

    ConnectionCls = PlainConnection
    QueueCls = cast("Any", _Kept)

    def take(self) -> PlainConnection:
        """Take the connection that was used last if it is alive, else a closed connection."""
        return cast("PlainConnection", self._get_conn())

    def open(self, connection: PlainConnection) -> None:
        """Connect, through the tunnel of a proxy if need be; raises OSError or RequestFailed."""
        if self.proxy is not None:
            self._prepare_proxy(connection)
        if connection.is_closed:
            connection.connect()

    def give(self, connection: PlainConnection) -> None:
        """Put a connection back, whether it is open or closed: the pool keeps a place for it."""
        self._put_conn(connection)


class TLSPool(PlainPool, HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = TLSConnection


def manager(proxy: Url | None, proxy_headers: dict[str, str], **options: Any) -> PoolManager:
    """Make a manager of such pools. `options` go to each pool, and from there to its connections."""
    made = (
        PoolManager(MOST_ORIGINS, **options)
        if proxy is None
        else ProxyManager(proxy.url, MOST_ORIGINS, proxy_headers=proxy_headers, **options)
    )
    made.pool_classes_by_scheme = {"http": PlainPool, "https": TLSPool}
    # All pools of a manager have the same options, so only the origin tells them apart.
    made.key_fn_by_scheme = dict.fromkeys(("http", "https"), partial(_key))
    return made


def key_of(origin: Origin) -> PoolKey:
    """Give the key of an origin's pool in its manager: the origin itself."""
    return cast("PoolKey", origin)


def _key(context: dict[str, Any]) -> PoolKey:
    return key_of(Origin(context["scheme"], context["host"], context["port"]))
