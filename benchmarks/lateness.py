"""How late delayed tasks run: taskqueue, Celery (native, and in its workers' memory) and Dramatiq.

Each contender's workers run while tasks are sent at a rate that all of them can execute. A task's URL
says when it is due, and the receiver's log when it came; both are of the same clock.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks import contenders, report
from benchmarks.contenders import Contender
from benchmarks.processes import usage
from benchmarks.receiver import Receiver
from sandbox.broker import Broker

_WARMING = 20
_START_SECONDS = 60.0
_QUIET = 20.0
"""Seconds without a request, past the last due time, after which nothing more is waited for."""
_BOUNDS = (0.0, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0)
_BAR = 40


def measure(
    contender: Contender, receiver: Receiver, *, count: int, rate: float, delays: tuple[float, float]
) -> tuple[list[float], float]:
    """Run the tasks, and give the lateness of each in seconds, and MiB of the workers at most."""
    receiver.clear()
    with contender.working() as running:
        # The queues are declared by the workers of some, and only a task tells that they consume.
        contender.send(f"{receiver.url}/", _WARMING)
        _await(receiver)
        receiver.clear()
        sending = contender.start_sending(f"{receiver.url}/", count, rate=rate, delays=delays)
        memory, seen, progressed = 0.0, 0, time.monotonic()
        while seen < count and time.monotonic() < progressed + delays[1] + _QUIET:
            # A sampler's step.
            time.sleep(0.25)
            memory = max(memory, usage(*running.pids).memory)
            if (now := receiver.count()) > seen:
                seen, progressed = now, time.monotonic()
        sending.finish()
    return [each.at - each.due for each in receiver.arrivals() if each.due is not None], memory


def _await(receiver: Receiver) -> None:
    end = time.monotonic() + _START_SECONDS
    while receiver.count() < _WARMING:
        if time.monotonic() > end:
            raise RuntimeError("the workers run nothing")
        time.sleep(0.05)


def summary(name: str, late: list[float], count: int, memory: float) -> report.Row:
    """Make a row of the percentiles."""
    return {
        "contender": name,
        "tasks": len(late),
        "missing": count - len(late),
        "early": sum(1 for each in late if each < 0),
        "earliest ms": min(late, default=0.0) * 1000,
        "p50 ms": report.percentile(late, 50) * 1000,
        "p99 ms": report.percentile(late, 99) * 1000,
        "p99.9 ms": report.percentile(late, 99.9) * 1000,
        "worst ms": max(late, default=0.0) * 1000,
        "workers MiB": memory,
    }


def histogram(late: list[float]) -> list[report.Row]:
    """Make a row for each range of lateness, with a bar."""
    edges = [float("-inf"), *_BOUNDS, float("inf")]
    rows: list[report.Row] = []
    for low, high in pairwise(edges):
        share = sum(1 for each in late if low <= each < high) / max(1, len(late))
        name = "early" if low < 0 else f"from {low * 1000:g} ms"
        rows.append({"late": name, "%": share * 100, "": "#" * round(share * _BAR)})
    return rows


def main() -> int:
    """Compare, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--rate", type=float, default=200, help="tasks a second")
    parser.add_argument("--seconds", type=float, default=10, help="how long to send")
    parser.add_argument("--delays", default="1,10", help="shortest and longest delay in seconds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rate, arguments.seconds, arguments.delays = 50, 3, "1,3"
    low, high = (float(bound) for bound in arguments.delays.split(","))
    count = int(arguments.rate * arguments.seconds)
    rows: list[report.Row] = []
    tables: dict[str, list[report.Row]] = {}
    with Broker.start() as broker, Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        field = [
            contenders.ours(broker, receiver, Path(folder), processes=2, threads=8),
            contenders.celery(broker, processes=16),
            contenders.celery(broker, processes=16, native=False),
            contenders.dramatiq(broker, processes=2, threads=8),
        ]
        for contender in field:
            report.say(f"{contender.name}: {count:,} tasks")
            late, memory = measure(contender, receiver, count=count, rate=arguments.rate, delays=(low, high))
            rows.append(summary(contender.name, late, count, memory))
            tables[f"{contender.name}: how many were so late"] = histogram(late)
    heading = f"{count:,} tasks at {arguments.rate:g}/s, delays of {low:g} to {high:g} s"
    report.tell(arguments, "lateness", {heading: rows, **tables})
    return 0


if __name__ == "__main__":
    sys.exit(main())
