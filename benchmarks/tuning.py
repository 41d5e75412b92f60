"""What the consumer's choices cost: the prefetch, and pika's two kinds of connection.

`prefetch`: due tasks executed a second with 2 consumers of 8 threads, rounds interleaved. `connections`:
one process takes messages from one queue, publishes each to another with a confirm and then acks it:
pika's BlockingConnection, which waits for each confirm, and our link over its SelectConnection, which
streams them, with several windows.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pika

from benchmarks import contenders, report
from benchmarks.contenders import Contender
from benchmarks.receiver import Receiver
from benchmarks.throughput import Measured, measure
from sandbox.broker import Broker
from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.wire import TolerantConnection
from taskqueue.task.message import Publish

_SPAWN = multiprocessing.get_context("spawn")
_SOURCE, _TARGET = "tuning.source", "tuning.target"
_QUORUM = {"x-queue-type": "quorum"}
_BODY = b" " * 200
_GOODBYE = 5.0
Forward = Callable[[str, int, int], None]
"""Moves so many messages from the one queue to the other, with a window."""


def blocking(url: str, count: int, window: int) -> None:
    """Forward as a program with pika's BlockingConnection does."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=window)
        for method, properties, body in channel.consume(_SOURCE):
            channel.basic_publish("", _TARGET, body, properties, mandatory=True)
            channel.basic_ack(method.delivery_tag or 0)
            count -= 1
            if not count:
                return


class _Stream:
    """Takes messages over our link, publishes each and acks it once it is confirmed."""

    def __init__(self, url: str, count: int, window: int) -> None:
        self._left = count
        self._window = window
        self._done = threading.Event()
        self._link = Link([pika.URLParameters(url)], self, name="tuning")

    def run(self) -> None:
        """Forward all."""
        self._link.start()
        self._done.wait()
        self._link.close(_GOODBYE)

    def connected(self, connection: TolerantConnection) -> None:
        """Begin to consume."""
        ConfirmChannel(self._link, connection, opened=self._consume, closed=lambda *_: None)

    def disconnected(self, reason: str) -> None:
        """Do nothing: the link tries again."""

    def alarmed(self, *, now: bool) -> None:
        """Do nothing: the machine has room."""

    def unreachable(self, reason: str) -> None:
        """Do nothing: the link tries again."""

    def _consume(self, channel: ConfirmChannel) -> None:
        def received(delivery: Delivery) -> None:
            publish = Publish("", (_TARGET,), delivery.message)
            channel.publish(publish, lambda outcome: self._ended(channel, delivery.tag, outcome))

        def limited() -> None:
            channel.consume(_SOURCE, received, lambda: None)

        channel.prefetch(self._window, limited)

    def _ended(self, channel: ConfirmChannel, tag: int, outcome: Outcome) -> None:
        if outcome is not Outcome.CONFIRMED:
            raise RuntimeError(f"a message could not be forwarded: {outcome.value}")
        channel.ack(tag)
        self._left -= 1
        if not self._left:
            self._done.set()


def streaming(url: str, count: int, window: int) -> None:
    """Forward over our link; confirms come in any order, and each ack follows its confirm."""
    _Stream(url, count, window).run()


def forwarding(broker: Broker, forward: Forward, count: int, window: int) -> tuple[float, float]:
    """Fill the queue, forward all in a process of its own; give messages a second and ms of CPU for each."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        for name in (_SOURCE, _TARGET):
            channel.queue_declare(name, durable=True, arguments=_QUORUM)
            channel.queue_purge(name)
        for _ in range(count):
            channel.basic_publish("", _SOURCE, _BODY, pika.BasicProperties(delivery_mode=2))
        while channel.queue_declare(_SOURCE, passive=True).method.message_count < count:
            connection.sleep(0.1)
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_timed, args=(forward, broker.url, count, window, theirs))
    process.start()
    try:
        seconds, cpu = ours.recv()
    finally:
        process.join()
    return count / seconds, cpu / count * 1000


def _timed(forward: Forward, url: str, count: int, window: int, pipe: Connection) -> None:
    used, began = _cpu(), time.monotonic()
    forward(url, count, window)
    pipe.send((time.monotonic() - began, _cpu() - used))


def _cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def connections(broker: Broker, count: int, rounds: int) -> list[report.Row]:
    """Compare the two connections, and windows of the second."""
    ways = [("BlockingConnection", blocking, 26)]
    ways += [("SelectConnection, ours", streaming, window) for window in (1, 8, 26, 100, 500)]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number in range(rounds):
        for name, forward, window in ways:
            rate, cpu = forwarding(broker, forward, count, window)
            report.say(f"round {number + 1}: {name}, window {window}: {rate:,.0f} messages/s")
            found.setdefault((name, window), []).append((rate, cpu))
    return [
        {
            "connection": name,
            "window": window,
            "messages/s": statistics.median(rate for rate, _ in runs),
            "client ms/message": statistics.median(cpu for _, cpu in runs),
        }
        for (name, window), runs in found.items()
    ]


def prefetches(broker: Broker, receiver: Receiver, count: int, rounds: int) -> list[report.Row]:
    """Compare the consumer with several prefetches; 0 is the window that follows the requests."""
    with tempfile.TemporaryDirectory() as folder:
        ours = contenders.ours(broker, receiver, Path(folder), processes=2, threads=8)
        config = str(Path(folder) / "taskqueue.ini")
        found: dict[int, list[Measured]] = {}
        for number in range(rounds):
            for prefetch in (0, 8, 16, 26, 50, 100, 500):
                contender = _with(ours, prefetch, config)
                contender.send(f"{receiver.url}/", count)
                found.setdefault(prefetch, []).append(measure(contender, broker, receiver, count))
                report.say(
                    f"round {number + 1}: prefetch {prefetch}: {found[prefetch][-1].rate:,.0f} tasks/s"
                )
    return [
        {
            "prefetch": prefetch,
            "tasks/s": statistics.median(run.rate for run in runs),
            "workers ms/task": statistics.median(run.workers for run in runs),
            "broker ms/task": statistics.median(run.broker for run in runs),
        }
        for prefetch, runs in found.items()
    ]


def _with(contender: Contender, prefetch: int, config: str) -> Contender:
    run = (
        "-m",
        "benchmarks.peers.prefetch",
        str(prefetch),
        "run",
        "--config",
        config,
        "--log-level",
        "warning",
    )
    return replace(contender, workers=(run, run))


def main() -> int:
    """Compare, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--messages", type=int, default=4_000, help="messages, and tasks, of each round")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are taken")
    arguments = parser.parse_args()
    count, rounds = (2_000, 1) if arguments.quick else (arguments.messages, arguments.rounds)
    with Broker.start() as broker, Receiver() as receiver:
        tables = {
            "One process, from queue to queue, confirm then ack": connections(broker, count, rounds),
            "2 consumers of 8 threads, by prefetch": prefetches(broker, receiver, count, rounds),
        }
    report.tell(arguments, "tuning", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
