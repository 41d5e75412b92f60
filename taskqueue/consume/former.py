"""The channels of a queue whose consumer the broker has ended, as long as deliveries of them are out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.consume.acks import Acks
from taskqueue.consume.room import TAKEN


@dataclass(eq=False, slots=True)
class _Left:
    acks: Acks
    gone: bool = False
    """Nothing more comes on it."""


class Former:
    """Acks what is out on channels that consume no more, and closes each after its last one.

    The broker does not say whether it has ended a consumer over what is out for too long, or with its queue.
    In a classic queue that is declared in its place, which numbers what it hands out from 0 on, an ack of an
    old delivery would be one of another; but not on a channel that does not consume from it. `left` is called
    once nothing more can come on one.
    """

    def __init__(self, link: Link, left: Callable[[], None]) -> None:
        self._link = link
        self._all_came = left
        self._left: dict[ConfirmChannel, _Left] = {}
        self._acked = float("-inf")

    @property
    def just_acked(self) -> bool:
        """Tell whether the broker may not have got to all acks."""
        return self._link.monotonic() - self._acked < TAKEN

    @property
    def coming(self) -> bool:
        """Tell whether something may still be on its way."""
        return any(not left.gone for left in self._left.values())

    def keep(self, channel: ConfirmChannel, acks: Acks, consumer: str, given_up: Iterable[int]) -> None:
        """Cancel the consumer of a channel, give some deliveries back, and keep what else is out there."""
        self._left[channel] = _Left(acks)
        # First, so that the consumer does not go on once the broker has back what it had timed out for.
        channel.cancel(consumer, lambda: self._gone(channel))
        for tag in given_up:
            acks.forget(tag)
            channel.requeue(tag)

    def acks(self, channel: ConfirmChannel) -> Acks | None:
        """Give what is out on a channel; None where it is not one of these."""
        left = self._left.get(channel)
        return left.acks if left else None

    def flush(self) -> None:
        """Send the acks that are ready."""
        for channel, left in tuple(self._left.items()):
            if not channel.is_open:
                continue
            for ack in left.acks.flush():
                channel.ack(ack.tag, multiple=ack.multiple)
                self._acked = self._link.monotonic()
            if left.gone and not left.acks:
                del self._left[channel]
                # The broker may not have got to all acks, and would forget them.
                self._link.later(2 * TAKEN, partial(channel.close, "all is acked"))

    def lost(self, channel: ConfirmChannel) -> Acks | None:
        """Forget a channel that is closed, and give what was out on it; None where it is not one of these."""
        left = self._left.pop(channel, None)
        return left.acks if left else None

    def abandon(self, reason: str) -> None:
        """Have all end: their connection is gone."""
        for channel in tuple(self._left):
            channel.abandon(reason)

    def _gone(self, channel: ConfirmChannel) -> None:
        if channel in self._left:
            self._left[channel].gone = True
            self.flush()
        self._all_came()
