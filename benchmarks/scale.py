"""What waiting tasks cost: the consumer's memory, the broker's, a fresh task's lateness, `inspect`.

Tasks that are due in hours are piled up to each of the sizes in turn, on one broker with one consumer
running; at each size everything is measured again. Flat columns are the point.

The delays are multiples of 10,000 seconds. Such a task takes no short leg, so it stands still from the
first moment on, as a task does that was sent twenty minutes ago. With `--moving` the delays are any, and
what is measured is a broker that still works off the short legs of the pile.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.processes import usage
from benchmarks.receiver import Receiver
from sandbox.broker import Broker
from taskqueue import Client
from taskqueue.settings import load
from taskqueue.topology.declare import declare

_QUEUE = "default"
_SIZES = (0, 1_000, 10_000, 100_000)
_DELAY = 5.0
_GAP = 0.05
"""Seconds between the due times of fresh tasks."""
_STILL = 10_000
_MOST = 32
_QUIET = 30.0
_INI = "server = {server}\n[default]\nbase_url = {receiver}\nconcurrency = 8\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A broker, a receiver and a running consumer."""

    config: Path
    broker: Broker
    receiver: Receiver
    consumer: subprocess.Popen[bytes]


def pile(client: Client, count: int, chance: random.Random, *, moving: bool) -> float:
    """Send `count` tasks that are due in 3 to 89 hours, and give how many a second were confirmed."""

    def tasks() -> Iterator[dict[str, Any]]:
        for _ in range(count):
            delay = chance.uniform(_STILL, _MOST * _STILL) if moving else chance.randint(1, _MOST) * _STILL
            yield {"url": "/later", "queue": _QUEUE, "countdown": delay}

    began = time.monotonic()
    client.send_many(tasks())
    return count / (time.monotonic() - began)


def lateness(place: Place, client: Client, fresh: int) -> list[float]:
    """Send tasks of 5 s, due one after the other; give how late each was in milliseconds."""
    place.receiver.clear()
    first = time.time() + _DELAY
    dues = [first + number * _GAP for number in range(fresh)]
    client.send_many({"url": f"/fresh?due={due:.3f}", "queue": _QUEUE, "eta": due} for due in dues)
    end = time.time() + _DELAY + fresh * _GAP + _QUIET
    while place.receiver.count() < fresh:
        if time.time() > end:
            raise RuntimeError(f"only {place.receiver.count()} of {fresh} fresh tasks have run")
        time.sleep(0.05)
    return [(each.at - each.due) * 1000 for each in place.receiver.arrivals() if each.due is not None]


def inspect(config: Path) -> float:
    """Give the seconds that `taskqueue inspect` takes, the median of three."""
    command = [sys.executable, "-m", "taskqueue", "inspect", "--json", "--config", str(config)]
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def measure(place: Place, client: Client, waiting: int, fresh: int, rate: float | None) -> report.Row:
    """Measure everything with so many tasks waiting; `fresh` tasks tell the lateness."""
    late = lateness(place, client, fresh)
    return {
        "waiting": waiting,
        "consumer MiB": usage(place.consumer.pid).memory,
        "broker MiB": usage(place.broker.pid).memory,
        "sent/s": rate,
        "lateness p50 ms": statistics.median(late),
        "lateness p99 ms": report.percentile(late, 99),
        "inspect s": inspect(place.config),
    }


def grown(rows: list[report.Row]) -> list[report.Row]:
    """Say what each figure is to that of the fewest tasks."""
    columns = ("consumer MiB", "lateness p50 ms", "lateness p99 ms", "inspect s")
    return [
        {"waiting": row["waiting"], **{f"{name}, x": row[name] / rows[0][name] for name in columns}}
        for row in rows
    ]


def main() -> int:
    """Pile up, measure, and print the table."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--sizes", help="numbers of waiting tasks, with commas between, growing")
    parser.add_argument("--moving", action="store_true", help="any delays, not those without short legs")
    parser.add_argument("--fresh", type=int, default=100, help="tasks of 5 s whose lateness is measured")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")] if arguments.sizes else list(_SIZES)
    if arguments.quick:
        sizes = sizes[:3]
    chance = random.Random(7)
    rows: list[report.Row] = []
    with Broker.start() as broker, Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "taskqueue.ini"
        config.write_text(_INI.format(server=broker.url, receiver=receiver.url))
        declare(load(config))
        command = [sys.executable, "-m", "taskqueue", "run", "--config", str(config), "--log-level", "error"]
        consumer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        place = Place(config, broker, receiver, consumer)
        try:
            with Client.from_config(config) as client:
                waiting = 0
                for size in sizes:
                    report.say(f"piling up to {size:,} waiting tasks")
                    rate = (
                        pile(client, size - waiting, chance, moving=arguments.moving)
                        if size > waiting
                        else None
                    )
                    waiting = size
                    rows.append(measure(place, client, waiting, arguments.fresh, rate))
        finally:
            consumer.terminate()
            consumer.wait()
    heading = "One consumer, quorum queues, tasks of 5 s beside those waiting"
    report.tell(arguments, "scale", {heading: rows, "To the fewest": grown(rows)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
