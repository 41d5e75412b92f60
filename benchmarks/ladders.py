"""Ways to have RabbitMQ wait: ours, Celery's (declared by kombu's own code), and a queue for each delay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import pika
from pika.adapters.blocking_connection import BlockingChannel

from taskqueue.declare.apply import declare
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import rung_name

Route = tuple[str, tuple[str, ...]]
"""An exchange and routing keys: the first is the message's, the others ride in ``CC``."""


_RESOLUTION = Ladder().resolution


class Way(Protocol):
    """One way to delay a message until it stands in `queue`."""

    @property
    def name(self) -> str:
        """Name it in the tables."""

    @property
    def queue(self) -> str:
        """Name the queue in which a message stands when it is due."""

    def declare(self, url: str) -> None:
        """Create what it needs, if need be."""

    def route(self, channel: BlockingChannel, delay: float) -> Route:
        """Tell where a message goes whose delay is so many seconds."""


@dataclass(frozen=True, slots=True)
class Ours:
    """taskqueue's decimal ladder; `least_first` walks the shortest leg first instead of the longest."""

    queue_type: str
    least_first: bool = False
    resolution: Decimal = _RESOLUTION

    @property
    def name(self) -> str:
        """Name it in the tables."""
        if self.resolution != _RESOLUTION:
            return f"taskqueue, resolution {self.resolution}"
        return "taskqueue, least digit first" if self.least_first else "taskqueue"

    @property
    def queue(self) -> str:
        """Name the queue in which a message stands when it is due."""
        return f"ours-{self.queue_type}" + ("" if self.resolution == _RESOLUTION else "-fine")

    def declare(self, url: str) -> None:
        """Create what it needs, if need be."""
        settings = Settings(
            servers=(url,),
            queue_type=self.queue_type,
            resolution=self.resolution,
            queues={self.queue: QueueSettings(self.queue)},
        )
        declare(settings)
        if self.least_first:
            self._bind_upwards(url, settings.rungs)

    def route(self, channel: BlockingChannel, delay: float) -> Route:
        """Tell where a message goes whose delay is so many seconds."""
        del channel
        ladder = Ladder(self.resolution)
        ticks = math.ceil(Decimal(str(delay)) / ladder.resolution)
        if not self.least_first:
            return names.wait(self.queue), ladder.itinerary(ticks, self.queue)
        keys, place = [], names.ENTRY
        for leg in reversed(ladder.legs(ticks)):
            keys.append(names.hop(place, ladder.ttl(leg)))
            place = ladder.unit(leg.level)
        return names.wait(self.queue), (*keys, names.last_hop(place, self.queue))

    def _bind_upwards(self, url: str, ladder: Ladder) -> None:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            for leg in ladder.rungs():
                rung = rung_name(self.queue, ladder.ttl(leg), self.queue_type)
                for level in range(leg.level):
                    unit = ladder.unit(level)
                    channel.queue_bind(rung, names.level(self.queue, unit), names.hop(unit, ladder.ttl(leg)))


@dataclass(frozen=True, slots=True)
class Celery:
    """The 28 topic exchanges and queues of Celery's native delayed delivery, as kombu makes them."""

    queue_type: str

    @property
    def name(self) -> str:
        """Name it in the tables."""
        return "Celery native delayed delivery"

    @property
    def queue(self) -> str:
        """Name the queue in which a message stands when it is due."""
        return f"celery-{self.queue_type}"

    def declare(self, url: str) -> None:
        """Create what it needs, if need be."""
        from kombu import Connection, Exchange, Queue  # noqa: PLC0415 the extra `bench`
        from kombu.transport import native_delayed_delivery as native  # noqa: PLC0415

        exchange = Exchange(self.queue, type="topic")
        queue = Queue(
            self.queue, exchange, routing_key=self.queue, queue_arguments={"x-queue-type": self.queue_type}
        )
        with Connection(url) as connection:
            native.declare_native_delayed_delivery_exchanges_and_queues(
                connection, self.queue_type, prefix=self.queue_type
            )
            queue.bind(connection.channel()).declare()
            native.bind_queue_to_native_delayed_delivery_exchange(connection, queue, prefix=self.queue_type)

    def route(self, channel: BlockingChannel, delay: float) -> Route:
        """Tell where a message goes whose delay is so many seconds."""
        from kombu.transport import native_delayed_delivery as native  # noqa: PLC0415

        del channel
        key = native.calculate_routing_key(int(delay), self.queue)
        return native.level_name(native.MAX_LEVEL, self.queue_type), (key,)


@dataclass(frozen=True, slots=True)
class QueuePerDelay:
    """A queue for each delay that anybody asks for, gone when unused (as Symfony's Messenger has it)."""

    queue_type: str

    @property
    def name(self) -> str:
        """Name it in the tables."""
        return "a queue per delay"

    @property
    def queue(self) -> str:
        """Name the queue in which a message stands when it is due."""
        return f"perdelay-{self.queue_type}"

    def declare(self, url: str) -> None:
        """Create what it needs, if need be."""
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_declare(
                self.queue, durable=True, arguments={"x-queue-type": self.queue_type}
            )

    def route(self, channel: BlockingChannel, delay: float) -> Route:
        """Tell where a message goes whose delay is so many seconds."""
        milliseconds = round(delay * 1000)
        name = f"{self.queue}.{milliseconds}"
        arguments = {
            "x-queue-type": self.queue_type,
            "x-message-ttl": milliseconds,
            # Its own choice: the delay and ten seconds.
            "x-expires": milliseconds + 10_000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.queue,
        }
        if self.queue_type == "quorum":
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        # Declared with every message, as nobody knows whether it is still there.
        channel.queue_declare(name, durable=True, arguments=arguments)
        return "", (name,)
