"""Who asks the broker for permits: a consumer of its own for each.

It is cancelled just before its permit goes back, and no earlier: what a cancelled one has would not come back
from a node of a cluster that is killed (``rabbit_fifo``, noconnection).

Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery

_SURPLUS = 2
"""How many times as many as are wanted may ask before some are cancelled, so that few changes are made."""


class PermitAsks:
    """The consumers of the queue `permits`; `arrived` gets each delivery, with the tag of its consumer."""

    def __init__(self, permits: str, arrived: Callable[[Delivery, str], None]) -> None:
        self._permits = permits
        self._arrived = arrived
        self._channel: ConfirmChannel | None = None
        self._asking: set[str] = set()
        """Those that have no permit."""

    def __len__(self) -> int:
        """Count those that have no permit."""
        return len(self._asking)

    def opened(self, channel: ConfirmChannel) -> None:
        """Ask over this channel."""
        self._channel = channel
        channel.prefetch(1, _nothing)

    def lost(self) -> None:
        """Forget all: the channel is gone."""
        self._channel = None
        self._asking.clear()

    def want(self, count: int) -> None:
        """Have so many ask, or some more."""
        if self._channel is None or not self._channel.is_open:
            return
        while len(self._asking) < count:
            self._ask(self._channel)
        while len(self._asking) > _SURPLUS * count:
            self._channel.cancel(self._asking.pop(), _nothing)

    def answered(self, consumer: str) -> bool:
        """Note that one has a permit now; False where it was cancelled meanwhile."""
        if consumer not in self._asking:
            return False
        self._asking.remove(consumer)
        return True

    def ack(self, tag: int, consumer: str) -> None:
        """Ack what one has, which asks again."""
        if self._channel is not None:
            self._channel.ack(tag)
            self._asking.add(consumer)

    def requeue(self, tag: int, consumer: str, *, wanted: int) -> None:
        """Give back what one has; it asks again if fewer than `wanted` do."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        if len(self._asking) < wanted:
            self._asking.add(consumer)
            channel.requeue(tag)
        else:
            # In this order, or it would come back at once where nobody else asks.
            channel.cancel(consumer, lambda: channel.requeue(tag))

    def _ask(self, channel: ConfirmChannel) -> None:
        def arrived(delivery: Delivery) -> None:
            self._arrived(delivery, consumer)

        consumer = channel.consume(self._permits, arrived, _nothing)
        self._asking.add(consumer)


def _nothing() -> None:
    """Wait for nothing: the broker answers in the order in which it is asked."""
