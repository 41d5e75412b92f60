"""What one task costs the broker: CPU time and bytes on disk, by its legs and its size.

Tasks of 0 to 3 legs are sent to a queue that nobody consumes, until all stand in it; then a line is laid
through them. What an idle broker takes is taken off. `benchmarks.plan` reckons with the figures.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pika

from benchmarks import report
from benchmarks.processes import family, usage
from sandbox.broker import Broker
from taskqueue import Client
from taskqueue.declare.apply import declare
from taskqueue.settings import parse

_QUEUE = "costs"
_DELAYS = (0.0, 1.0, 1.1, 11.1)
"""Seconds that are so many legs as their place in this list, at the default resolution."""
_SIZES = (200, 4_000)
_IDLE = 3.0
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How tasks are sent: so many a second, and so many at once."""

    rate: float
    batch: int


def spent(broker: Broker) -> tuple[float, int]:
    """Give the CPU seconds of the broker, and the bytes that it has written to disk (proc_pid_io(5))."""
    written = 0
    for pid in family(broker.pid):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
            written += int(dict(line.split(": ") for line in lines)["write_bytes"])
    return usage(broker.pid).cpu, written


def sent(broker: Broker, count: int, delay: float, size: int, pace: Pace) -> None:
    """Send tasks with a payload of `size` bytes, and wait until those that are due soon have come."""
    task = {"url": "/task", "payload": "x" * size, "queue": _QUEUE, "countdown": delay}
    with Client(broker.url) as client:
        began = time.monotonic()
        for number in range(0, count, pace.batch):
            time.sleep(max(0.0, began + number / pace.rate - time.monotonic()))
            client.send_many(task for _ in range(min(pace.batch, count - number)))
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        end = time.monotonic() + _PATIENCE
        while channel.queue_declare(_QUEUE, passive=True).method.message_count < count:
            if time.monotonic() > end:
                raise RuntimeError(f"tasks with a delay of {delay:g} s did not come in {_PATIENCE:g} s")
            connection.sleep(0.1)
        channel.queue_purge(_QUEUE)


def measure(broker: Broker, count: int, legs: int, size: int, pace: Pace) -> report.Row:
    """Give what a task of so many legs costs."""
    cpu, _ = spent(broker)
    time.sleep(_IDLE)
    idle = (spent(broker)[0] - cpu) / _IDLE
    cpu, written = spent(broker)
    began = time.monotonic()
    sent(broker, count, _DELAYS[legs], size, pace)
    seconds = time.monotonic() - began
    after, written_after = spent(broker)
    return {
        "payload, bytes": size,
        "legs": legs,
        "broker ms/task": (after - cpu - idle * seconds) / count * 1000,
        "written, bytes/task": (written_after - written) / count,
    }


def lines(rows: Sequence[report.Row]) -> list[report.Row]:
    """Lay a line through the rows of each size: what comes with the task, and what with each of its legs."""
    fitted: list[report.Row] = []
    for size in dict.fromkeys(row["payload, bytes"] for row in rows):
        of_size = [row for row in rows if row["payload, bytes"] == size]
        fit = {
            column: statistics.linear_regression(
                [row["legs"] for row in of_size], [row[column] for row in of_size]
            )
            for column in ("broker ms/task", "written, bytes/task")
        }
        fitted.append(
            {"payload, bytes": size}
            | {f"{column}: a task": line.intercept for column, line in fit.items()}
            | {f"{column}: a leg": line.slope for column, line in fit.items()}
        )
    return fitted


def main() -> int:
    """Measure, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--tasks", type=int, default=1_000, help="of each number of legs, a round")
    parser.add_argument("--rate", type=float, default=300, help="tasks a second")
    parser.add_argument("--batch", type=int, default=1, help="tasks that are published at once")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tasks, arguments.rounds = 200, 1
    rows, pace = [], Pace(arguments.rate, arguments.batch)
    with Broker.start() as broker:
        settings = parse(f"server = {broker.url}\n[{_QUEUE}]\n", source="costs", environ={})
        declare(settings)
        sent(broker, arguments.tasks, 0, _SIZES[0], pace)  # what is first is not what it costs
        for number in range(arguments.rounds):
            for size in _SIZES:
                for legs in range(len(_DELAYS)):
                    rows.append(measure(broker, arguments.tasks, legs, size, pace))
                    report.say(f"round {number + 1}: {rows[-1]}")
    tables = {"Each run": rows, "A task and each of its legs": lines(rows)}
    report.tell(arguments, "costs", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
