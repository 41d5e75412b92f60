"""How RabbitMQ routes a message through a plan: direct and fanout exchanges, alternates, dead-lettering."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from hypothesis import strategies as st

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology.ladder import Ladder, Way
from taskqueue.topology.plan import Exchange, Plan, joined, plan

RESOLUTIONS = tuple(map(Decimal, ("0.001", "0.01", "0.1", "1", "10")))
QUEUE, HEAD, CROWD = "mail", "head", "crowd"
"""The queue that messages are for; a queue whose ladder others share; a shared ladder that is no queue."""
SHAPES = {"own": QUEUE, "headed": HEAD, "shared": CROWD}
"""The ladder that QUEUE waits on."""

ladders = st.builds(Ladder, st.sampled_from(RESOLUTIONS), st.integers(1, 12))
shapes = st.sampled_from(sorted(SHAPES))


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of a message: which wait queues it was in, for how long, and the queue it came to."""

    queue: str
    rungs: tuple[str, ...]
    stayed_ms: int
    strayed: bool
    """An alternate exchange had to take it."""


class Routing:
    """Bindings looked up by exchange and routing key, as the broker does."""

    def __init__(self, planned: Plan) -> None:
        self._exchanges: dict[str, Exchange] = {each.name: each for each in planned.exchanges}
        self._queues = {each.name: each.arguments for each in planned.queues}
        self._direct: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._fanout: dict[str, set[str]] = defaultdict(set)
        for each in planned.bindings:
            self._direct[each.exchange, each.routing_key].add(each.queue)
            self._fanout[each.exchange].add(each.queue)

    def has(self, exchange: str) -> bool:
        """Tell whether there is an exchange of this name: a publish to any other closes the channel."""
        return exchange in self._exchanges

    def reach(self, exchange: str, keys: tuple[str, ...]) -> Journey:
        """Follow a message to the queue from which it does not go on by itself.

        All its keys, the first and those of ``CC``, count at each exchange. That it leads nowhere, or to two
        queues at once, is a failure of the test.
        """
        stayed, strayed = 0, False
        rungs: list[str] = []
        while True:
            (queue,), by_alternate = self._route(exchange, keys)
            strayed |= by_alternate
            arguments = self._queues[queue]
            if "x-message-ttl" not in arguments:
                return Journey(queue, tuple(rungs), stayed, strayed)
            assert queue not in rungs, "RabbitMQ drops what comes to a queue twice by dead-lettering"
            rungs.append(queue)
            stayed += int(arguments["x-message-ttl"])
            exchange = str(arguments["x-dead-letter-exchange"])

    def _route(self, name: str, keys: tuple[str, ...]) -> tuple[set[str], bool]:
        by_alternate = False
        while True:
            exchange = self._exchanges[name]
            if exchange.type == "fanout":
                found = self._fanout[name]
            else:
                found = {queue for key in keys for queue in self._direct.get((name, key), ())}
            assert len(found) <= 1, (name, keys, found)
            if found:
                return found, by_alternate
            assert exchange.alternate in self._exchanges, f"{keys} lead nowhere at {name}"
            name, by_alternate = str(exchange.alternate), True


def configured(shape: str, rungs: Ladder, queue_type: str = "quorum") -> Settings:
    """Make the settings of one shape: QUEUE and another one on its ladder, and HEAD on its own."""
    ladder = SHAPES[shape]
    queues = {
        QUEUE: QueueSettings(QUEUE, ladder=ladder, base_url="http://base"),
        "other": QueueSettings("other", ladder="" if shape == "own" else ladder, base_url="http://base"),
        HEAD: QueueSettings(HEAD, base_url="http://base"),
    }
    return Settings(resolution=rungs.resolution, levels=rungs.levels, queue_type=queue_type, queues=queues)


@cache
def declared(shape: str, *rungs: Ladder) -> Routing:
    """Declare one shape with each of some ladders, one after the other: what was there before stays."""
    return Routing(joined(plan(configured(shape, each).layout) for each in rungs))


def ways(shape: str, rungs: Ladder) -> tuple[Way, ...]:
    """List what a sender to QUEUE may believe in: the ladder that it waits on, and one of its own."""
    return tuple(Way(QUEUE, ladder, rungs) for ladder in dict.fromkeys((SHAPES[shape], QUEUE)))
