"""What waiting tasks cost: the consumer's memory, the broker's, a fresh task's lateness, `inspect`.

Tasks that are due in hours are piled up to each of the sizes in turn, on one broker with one consumer
running; at each size everything is measured again. Flat columns are the point.
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
from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue import Client
from taskqueue.settings import load
from taskqueue.topology.declare import declare

_QUEUE = "default"
_SIZES = (0, 1_000, 10_000, 100_000)
_DELAY = 5.0
_HOURS = (2.0, 90.0)
_INI = "server = {server}\n[default]\nbase_url = {receiver}\nconcurrency = 8\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A broker, a receiver and a running consumer."""

    config: Path
    broker: Broker
    receiver: Receiver
    consumer: subprocess.Popen[bytes]


def pile(client: Client, count: int, chance: random.Random) -> float:
    """Send `count` tasks that are due in hours, and give how many a second were confirmed."""

    def tasks() -> Iterator[dict[str, Any]]:
        for _ in range(count):
            yield {"url": "/later", "queue": _QUEUE, "countdown": chance.uniform(*_HOURS) * 3600}

    began = time.monotonic()
    client.send_many(tasks())
    return count / (time.monotonic() - began)


def measure(place: Place, client: Client, waiting: int, fresh: int, rate: float | None) -> report.Row:
    """Measure everything with so many tasks waiting; `fresh` tasks tell the lateness."""
    place.receiver.clear()
    client.send_many({"url": "/fresh", "queue": _QUEUE, "countdown": _DELAY} for _ in range(fresh))
    requests = place.receiver.wait_for(fresh, timeout=120)
    late = [(request.at - float(request.headers["Taskqueue-Due"])) * 1000 for request in requests]
    began = time.monotonic()
    command = [sys.executable, "-m", "taskqueue", "inspect", "--json", "--config", str(place.config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {
        "waiting": waiting,
        "consumer MiB": usage(place.consumer.pid).memory,
        "broker MiB": usage(place.broker.pid).memory,
        "sent/s": rate,
        "lateness p50 ms": statistics.median(late),
        "lateness p99 ms": report.percentile(late, 99),
        "inspect s": time.monotonic() - began,
    }


def main() -> int:
    """Pile up, measure, and print the table."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--sizes", help="numbers of waiting tasks, with commas between, growing")
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
                    rate = pile(client, size - waiting, chance) if size > waiting else None
                    waiting = size
                    rows.append(measure(place, client, waiting, arguments.fresh, rate))
        finally:
            consumer.terminate()
            consumer.wait()
    report.tell(arguments, "scale", {"One consumer, quorum queues, tasks of 5 s beside those waiting": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
