"""Which deliveries one frame can ack: pure bookkeeping of delivery tags; deliveries.py sends the acks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ack:
    """One ``basic.ack``; `multiple` takes every earlier tag of the channel with it."""

    tag: int
    multiple: bool


class Acks:
    """The deliveries of one channel, in the order in which they came."""

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}
        self._settled = 0

    def __len__(self) -> int:
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """Note a delivery; tags of a channel only grow."""
        self._open[tag] = False

    def settle(self, tag: int) -> bool:
        """Note that a delivery may be acked; True for the first one since the last flush."""
        if self._open[tag]:
            return False
        self._open[tag] = True
        self._settled += 1
        return self._settled == 1

    def forget(self, tag: int) -> None:
        """Note that a delivery was given back: nobody acks it any more."""
        self._settled -= self._open.pop(tag)

    def flush(self) -> list[Ack]:
        """Take out what may be acked: the settled head in one frame, the rest one by one.

        A long request at the head delays no other: what is settled behind it is acked alone.
        """
        if not self._settled:
            return []
        head = 0
        count = 0
        for tag, settled in self._open.items():
            if not settled:
                break
            head = tag
            count += 1
        acks = [Ack(head, multiple=count > 1)] if count else []
        if count < self._settled:
            acks += [
                Ack(tag, multiple=False) for tag, settled in self._open.items() if settled and tag > head
            ]
        for tag in [tag for tag, settled in self._open.items() if settled]:
            del self._open[tag]
        self._settled = 0
        return acks
