"""Delayed messages through taskqueue's ladder, Celery's, and a queue per delay: CPU, lateness, bursts.

Messages are published at a rate and consumed as they arrive; the broker's CPU time is read from /proc,
less what it takes when idle. Delays are whole seconds, the only ones that Celery's ladder knows, or
tenths. A rate is held where the broker took the messages at it, and the last tenth of them was less than
a second late at its median.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pika

from benchmarks import report, traffic
from benchmarks.ladders import Celery, Ours, QueuePerDelay, Way
from benchmarks.processes import usage
from benchmarks.traffic import Arrivals, Load
from sandbox.broker import Broker

_IDLE_SECONDS = 2.0
_HELD_SECONDS = 1.0
_IN_TIME = 0.9
_ENOUGH = 2_000
_FINE = Decimal("0.001")
_LEAD = 5.0
"""Seconds between the last publish of a burst and its due time, at the least rate that is expected."""
_SURE, _LEAST = 0.75, 500.0
"""The share of the highest rate so far at which a burst is surely published, and the least rate expected."""
_FAST = 4_000.0
_CLASSIC_SHARE = 0.2
"""Of the messages of a burst: classic queues take several times as long."""


def measure(broker: Broker, way: Way, queue_type: str, load: Load) -> report.Row:
    """Run one load, and give the row of the table."""
    way.declare(broker.url)
    before = usage(broker.pid).cpu
    time.sleep(_IDLE_SECONDS)
    idle = (usage(broker.pid).cpu - before) / _IDLE_SECONDS
    last_due = time.time() + load.count / load.rate + load.high
    began, cpu = time.monotonic(), usage(broker.pid).cpu
    with traffic.listening(broker.url, way.queue, load.count, last_due) as pipe:
        published = traffic.publish(broker.url, way, load)
        arrivals: Arrivals = pipe.recv()
    seconds = time.monotonic() - began
    late = arrivals.lateness
    tail = statistics.median(late[-max(1, len(late) // 10) :]) if late else float("nan")
    # A broker that is behind keeps publishers waiting too.
    held = (
        len(late) == load.count
        and tail < _HELD_SECONDS
        and load.count / published.seconds > load.rate * _IN_TIME
    )
    return {
        "ladder": way.name,
        "queues": queue_type,
        "messages": load.count,
        "delays": f"{load.low:g}-{load.high:g} s by {load.step:g}",
        "rate": int(load.rate),
        "published/s": load.count / published.seconds,
        "broker ms/message": (usage(broker.pid).cpu - cpu - idle * seconds) / load.count * 1000,
        "publishers ms/message": published.cpu / load.count * 1000,
        "consumer ms/message": arrivals.cpu / load.count * 1000,
        "p50 ms": report.percentile(late, 50) * 1000,
        "p99 ms": report.percentile(late, 99) * 1000,
        "p99.9 ms": report.percentile(late, 99.9) * 1000,
        "early": sum(1 for each in late if each < 0),
        "missing": load.count - len(late),
        "held": "yes" if held else "no",
    }


def burst(broker: Broker, way: Way, queue_type: str, count: int, surely: float) -> report.Row:
    """Have `count` messages due at one instant: how long after it until all stand in the work queue.

    They are published before, at `surely` a second or faster.
    """
    way.declare(broker.url)
    due = float(int(time.time() + count / surely + _LEAD))
    cpu = usage(broker.pid).cpu
    traffic.publish(broker.url, way, Load(count, _FAST, 0, 0, 0.1, due))
    spare = due - time.time()
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        connection.sleep(max(0.0, spare))
        halfway: float | None = None
        while (there := _depth(channel, way.queue)) < count:
            if halfway is None and there >= count / 2:
                halfway = time.time() - due
            if time.time() > due + 120:  # it will not come any more
                break
            connection.sleep(0.05)
        seconds = time.time() - due
        channel.queue_purge(way.queue)
    return {
        "ladder": way.name,
        "queues": queue_type,
        "messages": count,
        "published before due, s": spare,
        "half there after s": halfway or seconds,
        "all there after s": seconds,
        "broker ms/message": (usage(broker.pid).cpu - cpu) / count * 1000,
    }


def _depth(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _runs(arguments: argparse.Namespace) -> Iterable[tuple[Way, str, Load]]:
    rates = [float(rate) for rate in arguments.rates.split(",")]
    low, high = (float(bound) for bound in arguments.delays.split(","))
    for rate in rates:
        load = Load(int(rate * arguments.seconds), rate, low, high, 1.0)
        yield Ours("quorum"), "quorum", load
        yield Celery("quorum"), "quorum", _little(load)
        yield QueuePerDelay("quorum"), "quorum", load
    middle = Load(int(1000 * arguments.seconds), 1000.0, low, high, 1.0)
    tenths = Load(middle.count, middle.rate, low, high, 0.1)
    yield Ours("quorum"), "quorum", tenths
    # As many legs as an eta of an hour has, whose own ones would take that hour.
    yield Ours("quorum", resolution=_FINE), "quorum", replace(tenths, step=float(_FINE))
    yield Ours("quorum", least_first=True), "quorum", tenths
    yield Ours("classic"), "classic", middle
    yield Celery("classic"), "classic", _little(middle)


def _little(load: Load) -> Load:
    """Give a load whose CPU time is known, and that is worked off soon at 200 messages a second."""
    return replace(load, count=min(load.count, _ENOUGH))


def _compared(rows: list[report.Row]) -> list[report.Row]:
    """Put beside each row what its CPU time is to that of ours at the same load, if there is one."""

    def load(row: report.Row) -> tuple[object, ...]:
        return row["queues"], row["delays"], row["rate"]

    ours = {load(row): row["broker ms/message"] for row in rows if row["ladder"] == "taskqueue"}
    return [
        {**row, "x ours": ours.get(load(row)) and row["broker ms/message"] / ours[load(row)]} for row in rows
    ]


def main() -> int:
    """Compare, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--rates", default="200,1000,3000", help="messages a second")
    parser.add_argument("--seconds", type=float, default=5, help="how long to publish at each rate")
    parser.add_argument("--delays", default="1,10", help="shortest and longest delay in seconds")
    parser.add_argument("--burst", type=int, default=50_000, help="messages that are due at one instant")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rates, arguments.seconds, arguments.delays, arguments.burst = "200", 2, "1,3", 2_000
    rows, bursts = [], []
    with Broker.start() as broker:
        behind: dict[Way, float] = {}
        for way, queue_type, load in _runs(arguments):
            if load.rate >= behind.get(way, math.inf):
                report.say(f"{way.name}, {queue_type}: left out, it fell behind at {behind[way]:g}/s")
                continue
            report.say(f"{way.name}, {queue_type}, {load.rate:g}/s, steps of {load.step:g} s")
            rows.append(measure(broker, way, queue_type, load))
            report.say(", ".join(f"{name} {value}" for name, value in rows[-1].items()))
            if rows[-1]["held"] == "no":
                behind[way] = load.rate
        fastest = max(row["published/s"] for row in rows if row["ladder"] == "taskqueue")
        surely = max(_LEAST, fastest * _SURE)
        for queue_type, share in (("quorum", 1.0), ("classic", _CLASSIC_SHARE)):
            count = int(arguments.burst * share)
            for way in (Ours(queue_type), Ours(queue_type, least_first=True)):
                report.say(f"burst: {way.name}, {queue_type}")
                bursts.append(burst(broker, way, queue_type, count, surely))
    tables = {"Delayed messages": _compared(rows), "All due at one instant": bursts}
    report.tell(arguments, "topology", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
