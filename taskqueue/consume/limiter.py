"""The limits of one queue that hold over all consumers, and the channel by which the broker decides.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from typing import Protocol

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.replies import ACCESS_REFUSED, absent
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.members import Members
from taskqueue.consume.permits import Permits
from taskqueue.consume.reopening import Reopening
from taskqueue.settings import QueueSettings
from taskqueue.topology import names
from taskqueue.topology.plan import Exchange, Queue

log = logging.getLogger(__name__)


class Owner(Protocol):
    """What a limiter tells its consumer."""

    def missing(self, queue: str, reason: str) -> None:
        """Something of the limits is not declared, and never was there."""

    def refused(self, reason: str) -> None:
        """The user may not take part in the limits, and never did."""


class Limiter:
    """Keeps the channel of the limits of a queue open, for what there is of `members` and `permits`."""

    def __init__(
        self,
        queue: QueueSettings,
        *,
        link: Link,
        owner: Owner,
        members: Members | None,
        permits: Permits | None,
    ) -> None:
        self._queue = queue.name
        self._queues = names.limits(queue.name, paced=members is not None, capped=permits is not None)
        self._link = link
        self._owner = owner
        self._parts: list[Members | Permits] = [part for part in (members, permits) if part is not None]
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._opened = False
        self._reopening = Reopening()

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection."""
        self._connection = connection
        self._reopening.connected()
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel: the broker takes back what was out on it."""
        self._connection = None
        if self._channel is not None:
            self._channel.abandon(reason)

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open and self._channel is None:
            self._opened = False
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=self._verify, closed=self._closed
            )

    def _verify(self, channel: ConfirmChannel) -> None:
        for name in self._queues:
            channel.require(name, (names.due(self._queue),))
        needed: list[Exchange | Queue] = [Queue(name) for name in self._queues]
        channel.verify(needed, lambda: self._begin(channel))

    def _begin(self, channel: ConfirmChannel) -> None:
        if channel is self._channel:
            self._opened = True
            self._reopening.consuming(self._link.monotonic())
            for part in self._parts:
                part.opened(channel)

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if self._opened:
            for part in self._parts:
                part.lost()
        if self._connection is None or not self._connection.is_open:
            return
        log.warning("the channel for the limits of %s was closed (%s %s)", self._queue, code or "", reason)
        if absent(code, reason) and not self._reopening.ever_consumed:
            self._owner.missing(self._queue, reason)
        elif code == ACCESS_REFUSED and not self._reopening.ever_consumed:
            self._owner.refused(
                f"the limits of {self._queue!r} can't be kept ({reason}): the user needs read permission on "
                f"{', '.join(self._queues)}; see 'taskqueue check'"
            )
        self._link.later(self._reopening.delay(self._link.monotonic()), self._open)
