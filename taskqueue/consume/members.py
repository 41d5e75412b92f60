"""How many consumers share the rate of a queue: those of a queue that is always empty, as the broker counts.

A consumer that dies is counted no more as soon as the broker knows, and one that is silent until then. Where
the broker does not answer, what was counted last stays.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pika import spec

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.topology import names

log = logging.getLogger(__name__)

COUNTED = 0.5
"""Seconds after which others are counted anew, where tasks take tokens: an idle queue asks nothing."""
JOINING = 0.8
"""Seconds in which a consumer that joins others spends nothing: by then they know."""

_AGAIN = 0.25


class Members:
    """Calls `share` with how many share the rate, and for how many seconds to spend nothing."""

    def __init__(
        self,
        queue: str,
        *,
        link: Link,
        share: Callable[[int, float], None],
        stray: Callable[[Delivery, str], None],
    ) -> None:
        """Hand what is none of ours to `stray`, with the name of the queue that it was in."""
        self._queue = names.members(queue)
        self._share = share
        self._link = link
        self._bury = stray
        self._channel: ConfirmChannel | None = None
        self._counted = float("-inf")
        self._among = 0

    def opened(self, channel: ConfirmChannel) -> None:
        """Be counted, over this channel."""
        self._channel = channel
        channel.consume(self._queue, self._stray, lambda: self._count(channel, joins=True))

    def lost(self) -> None:
        """Keep the share that there was: the channel is gone."""
        self._channel = None

    def used(self) -> None:
        """Count anew where that is due, as a task asks for a token."""
        if self._channel is not None and self._link.monotonic() - self._counted >= COUNTED:
            self._count(self._channel)

    def _count(self, channel: ConfirmChannel, *, joins: bool = False) -> None:
        def counted(found: spec.Queue.DeclareOk) -> None:
            # We are one of them, so zero is no answer: the leader gave none in time.
            among = found.consumer_count or self._among
            if joins and not found.consumer_count:
                self._link.later(_AGAIN, lambda: self._count(channel, joins=True))
            if among and (joins or among != self._among):
                self._among = among
                self._share(among, JOINING if joins and among > 1 else 0.0)
                log.debug("%s: %d consumers share the rate", self._queue, among)

        if channel.is_open and channel is self._channel:
            self._counted = self._link.monotonic()
            channel.count(self._queue, counted)

    def _stray(self, delivery: Delivery) -> None:
        self._bury(delivery, self._queue)
