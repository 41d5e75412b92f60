"""What waiting tasks cost: the consumer's memory, the broker's, a fresh task's lateness, `inspect`.

Tasks that are due in hours are piled up to each of the sizes in turn, on one broker with one consumer
running; at each size everything is measured again. Flat columns are the point.

Such a task stands still on its longest leg. At the end more tasks are sent at once that take short legs of
the same ladder, to a queue that nobody consumes; the lateness is measured while they walk them, and again
when these legs are empty.
"""

from __future__ import annotations

import asyncio
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
from taskqueue.broker.session import connected, run
from taskqueue.declare.apply import declare
from taskqueue.operate.inspect import states
from taskqueue.settings import load

_QUEUE, _ASIDE = "default", "aside"
"""The queue of the consumer, and one on the same ladder that has none."""
_SIZES = (0, 1_000, 10_000, 100_000)
_DELAY = 5.0
_GAP = 0.025
"""Seconds between the due times of fresh tasks."""
_SOON, _LATE = 10_000.0, 320_000.0
_WALK = 9.9
"""Seconds that the tasks sent last spend on short legs, at most."""
_SETTLING = 120.0
_WARMING = 20
_QUIET = 30.0
_INI = "server = {server}\nladder = default\nbase_url = {receiver}\n[default]\nconcurrency = 8\n[aside]\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A broker, a receiver and a running consumer."""

    config: Path
    broker: Broker
    receiver: Receiver
    consumer: subprocess.Popen[bytes]


def pile(
    client: Client, queue: str, count: int, chance: random.Random, *, delays: tuple[float, float]
) -> float:
    """Send `count` tasks with delays from one to the other, and give how many a second were confirmed."""

    def tasks() -> Iterator[dict[str, Any]]:
        for _ in range(count):
            yield {"url": "/later", "queue": queue, "countdown": round(chance.uniform(*delays), 1)}

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


def walking(place: Place, client: Client, count: int, chance: random.Random, fresh: int) -> list[report.Row]:
    """Measure the lateness beside tasks that walk short legs, and again when all have done so."""
    pile(client, _ASIDE, count, chance, delays=(0, _WALK))
    sent = time.monotonic()
    at_once = lateness(place, client, fresh)
    settled = settle(place.config, sent)
    after = lateness(place, client, fresh)
    return [
        {
            "fresh tasks": name,
            "beside": count,
            "short legs empty by s": settled,
            "lateness p50 ms": statistics.median(late),
            "lateness p99 ms": report.percentile(late, 99),
        }
        for name, late in (("at once", at_once), ("then", after))
    ]


def settle(config: Path, since: float) -> float:
    """Wait until no task is on a leg of a minute or less; give the seconds from `since` to then."""
    settings = load(config)

    async def work() -> float:
        async with connected(settings, name="taskqueue benchmark") as session:
            while time.monotonic() < since + _SETTLING:
                _, (ladder,) = await states(session, settings, settings.queues.values())
                if ladder.due is not None and ladder.due.minute == 0:
                    return time.monotonic() - since
                await asyncio.sleep(0.25)
        raise RuntimeError(f"short legs still hold tasks after {_SETTLING:g} s")

    return run(work())


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
    parser.add_argument("--walking", type=int, default=10_000, help="tasks on short legs at the end")
    parser.add_argument("--fresh", type=int, default=100, help="tasks of 5 s whose lateness is measured")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")] if arguments.sizes else list(_SIZES)
    if arguments.quick:
        sizes, arguments.walking = sizes[:3], 1_000
    chance = random.Random(7)
    rows: list[report.Row] = []
    with Broker.start() as broker, Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "taskqueue.ini"
        config.write_text(_INI.format(server=broker.url, receiver=receiver.url))
        declare(load(config))
        command = [sys.executable, "-m", "taskqueue", "run", "--config", str(config), "--queue", _QUEUE]
        command += ["--log-level", "error"]
        consumer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        place = Place(config, broker, receiver, consumer)
        try:
            with Client.from_config(config) as client:
                waiting = 0
                lateness(place, client, _WARMING)
                for size in sizes:
                    report.say(f"piling up to {size:,} waiting tasks")
                    rate = None
                    if size > waiting:
                        rate = pile(client, _QUEUE, size - waiting, chance, delays=(_SOON, _LATE))
                    waiting = size
                    rows.append(measure(place, client, waiting, arguments.fresh, rate))
                report.say(f"{arguments.walking:,} more tasks, on short legs")
                walked = walking(place, client, arguments.walking, chance, arguments.fresh)
        finally:
            consumer.terminate()
            consumer.wait()
    heading = "One consumer, quorum queues, tasks of 5 s beside those waiting"
    tables = {heading: rows, "To the fewest": grown(rows), "More tasks were just sent": walked}
    report.tell(arguments, "scale", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
