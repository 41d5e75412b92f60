"""Processes that publish delayed messages at a rate, and one that notes when each arrives."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import pika

from benchmarks.ladders import Way

_SPAWN = multiprocessing.get_context("spawn")
_OF_ONE_PUBLISHER = 1_500
"""Messages a second that one process of Python surely publishes, with much to spare."""
_QUIET = 10.0
"""Seconds without an arrival, and past the last due time, after which nothing more is waited for."""
_PADDING = b" " * 180
"""Bodies of 200 bytes, as a small task has."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to publish: `count` messages, `rate` a second, delays from `low` to `high` in steps (seconds)."""

    count: int
    rate: float
    low: float
    high: float
    step: float
    due: float | None = None
    """All due at this time instead, in seconds since the epoch."""

    def delay(self, chance: random.Random) -> float:
        """Give the delay of the next message."""
        if self.due is not None:
            return max(self.step, self.due - time.time())
        return round(chance.randint(round(self.low / self.step), round(self.high / self.step)) * self.step, 3)


@dataclass(frozen=True, slots=True)
class Published:
    """How long publishing took, and the CPU time it took the publishers."""

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How late each message that arrived was, in seconds; in the order of their arrival."""

    lateness: list[float]
    cpu: float
    """Seconds of CPU time that consuming them took."""


def publish(url: str, way: Way, load: Load) -> Published:
    """Publish a load in processes of its own, as many as its rate takes; raises RuntimeError."""
    hands = max(1, round(load.rate / _OF_ONE_PUBLISHER))
    times = [_SPAWN.Array("d", 2) for _ in range(hands)]
    processes = []
    for number, each in enumerate(times):
        # The first ones take what can't be shared out.
        count = load.count // hands + (number < load.count % hands)
        share = replace(load, count=count, rate=load.rate / hands)
        processes.append(_SPAWN.Process(target=_publish, args=(url, way, share, number, each)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"publishing through {way.name} failed")
    return Published(max(each[0] for each in times), sum(each[1] for each in times))


@contextmanager
def listening(url: str, queue: str, count: int, last_due: float) -> Iterator[Connection]:
    """Consume from a queue in a process of its own; the pipe then gives Arrivals, once."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_listen, args=(url, queue, count, last_due, theirs))
    process.start()
    ours.recv()  # it consumes
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def _publish(url: str, way: Way, load: Load, number: int, times: Any) -> None:
    chance = random.Random(number)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        begin, used = time.monotonic(), time.process_time()
        for done in range(load.count):
            ahead = begin + done / load.rate - time.monotonic()
            if ahead > 0.01:  # noqa: PLR2004 a sleep for each message would be half the work
                connection.sleep(ahead)
            delay = load.delay(chance)
            due = load.due or time.time() + delay
            exchange, keys = way.route(channel, delay)
            properties = pika.BasicProperties(
                delivery_mode=2, headers={"CC": list(keys[1:])} if len(keys) > 1 else {}
            )
            channel.basic_publish(exchange, keys[0], f"{due:.6f}".encode() + _PADDING, properties)
        # The broker answers once it has taken everything before.
        channel.basic_qos(prefetch_count=1)
        times[:] = [time.monotonic() - begin, time.process_time() - used]


def _listen(url: str, queue: str, count: int, last_due: float, pipe: Connection) -> None:
    lateness: list[float] = []
    arrived = time.time()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()

        def note(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
            nonlocal arrived
            arrived = time.time()
            lateness.append(arrived - float(body))
            if len(lateness) >= count:
                channel.stop_consuming()

        def look() -> None:
            if time.time() > max(arrived, last_due) + _QUIET:
                channel.stop_consuming()
            else:
                connection.call_later(1, look)

        channel.basic_consume(queue, note, auto_ack=True)
        pipe.send(None)
        look()
        channel.start_consuming()
    pipe.send(Arrivals(lateness, time.process_time()))
