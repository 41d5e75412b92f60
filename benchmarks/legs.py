"""Whether the legs of a delay go least or most digit first: lateness and the broker's CPU time, side by side.

Four loads on quorum queues, each in both orders: many messages due at one instant, consumed as they come,
and the same with nobody consuming, until the last stands in the work queue; a steady rate beside other
work; and many sent at once that are due over a long time. Each run has a broker of its own, so that none
pays for what another left, and the orders take turns at being first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pika

from benchmarks import report, traffic
from benchmarks.ladders import Ours
from benchmarks.processes import machine_cpu, usage
from benchmarks.traffic import Arrivals, Load
from sandbox.broker import Broker

_SPAWN = multiprocessing.get_context("spawn")
_ORDERS = (Ours("quorum", least_first=True), Ours("quorum"))
_STEP = 0.1
_SETTLING, _IDLE_SECONDS = 5.0, 5.0
"""Seconds: after its start and the declaring a broker is not idle yet."""
_LEAD = 3.0
"""Seconds from the call to the first publish of an instant and from the last to its due time, together."""
_FAST = 4_000.0
"""Messages a second of those sent at once: more than the broker takes."""
_GIVEN_UP = 180.0
_SHARES = {"p50 ms": 0.5, "p99 ms": 0.99, "p99.9 ms": 0.999, "last ms": 1.0}


@dataclass(frozen=True, slots=True)
class Part:
    """One load, and what is beside it."""

    name: str
    load: Callable[[], Load]
    """Made when the run begins, as an instant is a time of the clock."""
    consumed: bool = True
    busy: int = 0
    """Processes that do nothing but take CPU time meanwhile."""


def parts(arguments: argparse.Namespace) -> dict[str, Part]:
    """Give the loads by the names that ``--only`` takes."""
    low, high = (float(bound) for bound in arguments.delays.split(","))

    def instant() -> Load:
        rate = arguments.instant / arguments.sending
        return Load(arguments.instant, rate, 0, 0, _STEP, float(int(time.time() + arguments.sending + _LEAD)))

    def steady() -> Load:
        return Load(int(arguments.rate * arguments.seconds), arguments.rate, low, high, _STEP)

    def spread() -> Load:
        return Load(arguments.spread, _FAST, _STEP, arguments.over, _STEP)

    return {
        "instant": Part("one instant, consumed", instant),
        "ready": Part("one instant, nobody consumes", instant, consumed=False),
        "steady": Part("steady rate", steady, busy=arguments.busy),
        "spread": Part("sent at once", spread),
    }


def measure(part: Part, way: Ours, number: int) -> report.Row:
    """Run one load in one order on a broker of its own, and give the row of the table."""
    with ExitStack() as stack:
        broker = stack.enter_context(Broker.start())
        way.declare(broker.url)
        time.sleep(_SETTLING)
        before = usage(broker.pid).cpu
        time.sleep(_IDLE_SECONDS)
        idle = (usage(broker.pid).cpu - before) / _IDLE_SECONDS
        stack.enter_context(_busy(part.busy))
        load = part.load()
        began, cpu = time.monotonic(), usage(broker.pid).cpu
        figures = (_consumed if part.consumed else _ready)(broker, way, load)
        seconds = time.monotonic() - began
        spent = (usage(broker.pid).cpu - cpu - idle * seconds) / load.count * 1000
    order = "least first" if way.least_first else "most first"
    return {
        "load": part.name,
        "order": order,
        "round": number,
        "messages": load.count,
        "broker ms/message": spent,
        "idle, cores": idle,
        **figures,
    }


def _consumed(broker: Broker, way: Ours, load: Load) -> report.Row:
    last_due = load.due or time.time() + load.count / load.rate + load.high
    with traffic.listening(broker.url, way.queue, load.count, last_due) as pipe:
        published = traffic.publish(broker.url, way, load)
        spare = load.due - time.time() if load.due else None
        time.sleep(max(0.0, spare or 0.0))
        began, cpu, all_cpu = time.monotonic(), usage(broker.pid).cpu, machine_cpu()
        arrivals: Arrivals = pipe.recv()
        seconds, cpu = time.monotonic() - began, usage(broker.pid).cpu - cpu
        others = (machine_cpu() - all_cpu - cpu) / seconds
    late = arrivals.lateness
    return {
        **{name: report.percentile(late, share * 100) * 1000 for name, share in _SHARES.items()},
        # What is left to do at the instant, however much of the machine the broker gets for it.
        "after due, ms/message": cpu / load.count * 1000 if load.due else None,
        "others, cores": others if load.due else None,
        "published/s": load.count / published.seconds,
        "spare s": spare,
        "early": sum(1 for each in late if each < 0),
        "missing": load.count - len(late),
    }


def _ready(broker: Broker, way: Ours, load: Load) -> report.Row:
    """Look how many stand in the work queue, until all do."""
    if load.due is None:
        raise ValueError("only what is due at one instant can be looked at in the work queue")
    published = traffic.publish(broker.url, way, load)
    spare = load.due - time.time()
    reached: dict[str, float] = {}
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        connection.sleep(max(0.0, spare))
        there = 0
        began, cpu, all_cpu = time.monotonic(), usage(broker.pid).cpu, machine_cpu()
        while len(reached) < len(_SHARES) and time.time() < load.due + _GIVEN_UP:
            there = channel.queue_declare(way.queue, passive=True).method.message_count
            now = (time.time() - load.due) * 1000
            for name, share in _SHARES.items():
                if there >= share * load.count:
                    reached.setdefault(name, now)
            connection.sleep(0.05)
    seconds, cpu = time.monotonic() - began, usage(broker.pid).cpu - cpu
    others = (machine_cpu() - all_cpu - cpu) / seconds
    return {
        **{name: reached.get(name, float("nan")) for name in _SHARES},
        "after due, ms/message": cpu / load.count * 1000,
        "others, cores": others,
        "published/s": load.count / published.seconds,
        "spare s": spare,
        "early": None,
        "missing": load.count - there,
    }


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [_SPAWN.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _spin() -> None:
    while True:
        pass


def compared(rows: list[report.Row]) -> list[report.Row]:
    """Put the medians of both orders beside each other, and their ratio."""
    result: list[report.Row] = []
    for load in dict.fromkeys(row["load"] for row in rows):
        here = [row for row in rows if row["load"] == load]
        for figure in ("broker ms/message", "after due, ms/message", *_SHARES):
            if here[0][figure] is None:
                continue
            least, most = (
                statistics.median(row[figure] for row in here if row["order"] == f"{order} first")
                for order in ("least", "most")
            )
            ratio = most / least if least else None
            result.append(
                {"load": load, "median of": figure, "least first": least, "most first": most, "ratio": ratio}
            )
    return result


def main() -> int:
    """Run every load in both orders, in turn, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--only", default="instant,ready,steady,spread", help="which loads")
    parser.add_argument("--rounds", type=int, default=2, help="how often each load is run in each order")
    parser.add_argument("--instant", type=int, default=300_000, help="messages due at one instant")
    parser.add_argument("--sending", type=float, default=600, help="seconds over which they are sent before")
    parser.add_argument("--rate", type=float, default=1_000, help="messages a second of the steady rate")
    parser.add_argument("--seconds", type=float, default=60, help="how long the steady rate is held")
    parser.add_argument("--delays", default="5,65", help="its shortest and longest delay in seconds")
    parser.add_argument("--busy", type=int, default=1, help="busy processes beside the steady rate")
    parser.add_argument("--spread", type=int, default=200_000, help="messages sent at once")
    parser.add_argument("--over", type=float, default=3_600, help="seconds over which those are due")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.instant, arguments.sending = 1, 2_000, 4
        arguments.rate, arguments.seconds, arguments.delays = 200, 2, "1,3"
        arguments.spread, arguments.over = 2_000, 5
    known = parts(arguments)
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(known):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(known)}")
    rows = []
    for number in range(arguments.rounds):
        for part in (known[name] for name in chosen):
            for way in _ORDERS if number % 2 == 0 else reversed(_ORDERS):
                report.say(f"{part.name}: {way.name}, round {number + 1}")
                rows.append(measure(part, way, number + 1))
                report.say(", ".join(f"{name} {value}" for name, value in rows[-1].items()))
    tables = {"Runs": rows, "Least and most digit first": compared(rows)}
    report.tell(arguments, "legs", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
