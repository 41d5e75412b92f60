"""A delay and the way through the wait queues that adds up to it: pure arithmetic.

Time is counted in ticks of `resolution` seconds and written in decimal. Each non-zero digit is
one leg: a stay in the wait queue whose TTL is digit x 10^level ticks. The most
significant digit goes first: the rung that a task stands on then tells when the task is due, to within the
length of that rung.

`resolution` is a power of ten, so every ladder is a window of the same decimal one. The name of a rung says
all of its arguments: `20s` is the same rung for every resolution and any number of levels.

The message carries its hops. RabbitMQ routes by the routing key and by every entry of the ``CC``
header, and keeps all of them when it dead-letters (https://www.rabbitmq.com/docs/sender-selected).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from taskqueue.topology import names

BASE = 10
LONGEST_TTL_MS = 315_360_000_000
"""The longest TTL that RabbitMQ takes, in milliseconds: ten years (https://www.rabbitmq.com/docs/ttl)."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One stay in one wait queue: `digit` times the unit of `level`."""

    level: int
    digit: int

    @property
    def ticks(self) -> int:
        """The length of the stay, in ticks."""
        ticks: int = self.digit * BASE**self.level
        return ticks


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of every queue: `levels` decimal digits of `resolution` seconds each."""

    resolution: Decimal = Decimal("0.1")
    levels: int = 8

    @property
    def longest(self) -> int:
        """The longest delay of one itinerary, in ticks."""
        ticks: int = BASE**self.levels - 1
        return ticks

    def ticks(self, delay_ms: float) -> int:
        """Count the ticks of a delay (milliseconds), rounded up so that no task is early."""
        if delay_ms <= 0:
            return 0
        return math.ceil(Decimal(delay_ms) / (self.resolution * 1000))

    def legs(self, ticks: int) -> tuple[Leg, ...]:
        """Split a delay into its legs, the most significant digit first.

        A delay that is longer than the ladder takes the longest rung, arrives early, and goes round again.
        """
        if ticks > self.longest:
            return (Leg(self.levels - 1, BASE - 1),)
        digits = str(ticks)
        levels = reversed(range(len(digits)))
        return tuple(
            Leg(level, int(digit)) for level, digit in zip(levels, digits, strict=True) if digit != "0"
        )

    def rungs(self) -> Iterator[Leg]:
        """Yield every leg that a delay can be made of: one wait queue each."""
        for level in range(self.levels):
            for digit in range(1, BASE):
                yield Leg(level, digit)

    def ttl(self, leg: Leg) -> str:
        """Write the length of a stay as names and routing keys have it: in seconds."""
        return names.seconds(self.resolution * leg.ticks)

    def ttl_ms(self, leg: Leg) -> int:
        """Give the length of a stay in whole milliseconds, as ``x-message-ttl`` takes it."""
        return int(self.resolution * leg.ticks * 1000)

    def unit(self, level: int) -> str:
        """Write the unit of one level in seconds: the name of its exchange."""
        return names.seconds(self.resolution * BASE**level)

    def itinerary(self, ticks: int, queue: str) -> tuple[str, ...]:
        """List the routing keys that lead a message through its legs to `queue`; empty for no delay."""
        keys = []
        place = names.ENTRY
        for leg in self.legs(ticks):
            keys.append(names.hop(place, self.ttl(leg)))
            place = self.unit(leg.level)
        if keys:
            keys.append(names.last_hop(place, queue))
        return tuple(keys)


@dataclass(frozen=True, slots=True)
class Way:
    """How messages come to one work queue: the ladder they wait on, its name, and its rungs."""

    queue: str
    ladder: str
    rungs: Ladder = Ladder()

    def route(self, due: int, now: float) -> tuple[str, tuple[str, ...]]:
        """Give the exchange and the routing keys that bring a message to the queue at `due` (ms)."""
        # Whole milliseconds on both sides: with a fraction a delay of 20 s would take a leg of one tick more.
        keys = self.rungs.itinerary(self.rungs.ticks(due - math.ceil(now * 1000)), self.queue)
        if not keys:
            return names.due(self.queue), (self.queue,)
        if self.ladder != self.queue:
            keys = (*keys, names.astray(self.queue))
        return names.wait(self.ladder), keys
