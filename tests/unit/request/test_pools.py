"""Which connection a pool gives first."""

from __future__ import annotations

import math

from sandbox.peer import Peer
from taskqueue.request.http.dial import Dialer
from taskqueue.request.http.guard import Guard
from taskqueue.request.http.pools import PlainPool
from taskqueue.settings import QueueSettings


def test_what_is_open_comes_before_what_was_closed_later() -> None:
    """A process without a free descriptor uses what it has."""
    with Peer(lambda visit: visit.until_closed()) as peer:
        dialer = Dialer(Guard(QueueSettings("q")), 10.0)
        pool = PlainPool("127.0.0.1", peer.port, maxsize=3, block=True, dialer=dialer)
        kept, failed = pool.take(), pool.take()
        kept.begin(math.inf)
        pool.open(kept)
        pool.give(kept)
        pool.give(failed)
        assert failed.is_closed
        assert pool.take() is kept
        assert pool.take().is_closed
        pool.give(kept)
        pool.close()
