"""What an operator waits for: looks at many waiting and dead tasks, and acts on one or all of them.

One of the waiting tasks matches. For each command: its time, the CPU seconds that it and the broker took, its
largest memory, and how late tasks were that came due while it looked, beside a time without a look.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika

from benchmarks import report
from benchmarks.processes import usage
from sandbox.broker import Broker
from taskqueue import Client
from taskqueue.declare.apply import declare
from taskqueue.settings import load

_QUEUE = "mail"
_SIZES = (20_000, 200_000)
_DEAD = 50_000
_SOON, _LATE = 3_000.0, 9_000.0
_GAP = 0.05
"""Seconds between the due times of the tasks whose lateness is measured."""
_AHEAD = 8.0
_CALM = 20.0
_INI = "server = {server}\nbase_url = http://127.0.0.1:9\n[{queue}]\n"


class Arrivals:
    """Takes what comes due, and tells how late each was."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._late: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def take(self) -> list[float]:
        """Give the lateness in seconds of what has come since the last time."""
        late, self._late = self._late, []
        return late

    def end(self) -> None:
        """Take no more."""
        self._ended.set()
        self._thread.join()

    def _take(self) -> None:
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            for method, properties, _ in channel.consume(_QUEUE, auto_ack=True, inactivity_timeout=0.5):
                if method is not None and properties is not None:
                    headers: dict[str, Any] = dict(properties.headers or {})
                    due = headers["taskqueue-due"]
                    self._late.append(time.time() - due / 1000)
                elif self._ended.is_set():
                    return


def pile(client: Client, count: int, prefix: str) -> None:
    """Send tasks that wait for long."""
    chance = random.Random(7)

    def tasks() -> Iterator[dict[str, Any]]:
        for number in range(count):
            due = round(chance.uniform(_SOON, _LATE), 1)
            yield {"url": "/later", "queue": _QUEUE, "id": f"{prefix}{number}", "countdown": due}

    client.send_many(tasks())


def trickle(client: Client, seconds: float) -> None:
    """Send tasks that come due one after the other in the next seconds, over rungs that hold others too."""
    first = time.time() + _AHEAD
    dues = (first + number * _GAP for number in range(int(seconds / _GAP)))
    client.send_many({"url": "/soon", "queue": _QUEUE, "eta": due} for due in dues)


def command(config: Path, broker: Broker, *arguments: str) -> dict[str, Any]:
    """Run a command to its end, and tell what it took."""
    before = usage(broker.pid).cpu
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskqueue", *arguments, "--config", str(config)],
        stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "seconds": time.monotonic() - began,
        "exit code": process.returncode,
        "own CPU s": used.ru_utime + used.ru_stime,
        "broker CPU s": usage(broker.pid).cpu - before,
        "MiB": used.ru_maxrss / 1024,
    }


def lateness(late: list[float]) -> dict[str, Any]:
    """Tell of tasks that came due how late they were."""
    return {
        "came due": len(late),
        "late p50 s": statistics.median(late) if late else None,
        "late max s": max(late, default=None),
    }


def waiting(config: Path, broker: Broker, client: Client, arrivals: Arrivals, size: int) -> list[report.Row]:
    """Measure each command with so many tasks waiting, of which one matches."""
    rows: list[report.Row] = []
    trickle(client, _CALM)
    time.sleep(_AHEAD + _CALM + 1)
    idle = dict.fromkeys(("seconds", "exit code", "own CPU s", "broker CPU s", "MiB"))
    rows.append({"command": "(no look)", "waiting": size, **idle, **lateness(arrivals.take())})
    for number, verb in enumerate(("list", "cancel", "run-now")):
        trickle(client, 2 * _CALM)
        time.sleep(_AHEAD)
        arrivals.take()
        yes = () if verb == "list" else ("--yes",)
        took = command(config, broker, "waiting", verb, _QUEUE, "--id", f"w{size}-{number}", *yes)
        time.sleep(1)
        rows.append({"command": verb, "waiting": size, **took, **lateness(arrivals.take())})
    return rows


def dead(config: Path, broker: Broker, count: int) -> list[report.Row]:
    """Measure each command with so many dead tasks."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        for number in range(count):
            headers: Any = {"taskqueue-reason": "failed", "taskqueue-error": "status 500"}
            basic = pika.BasicProperties(message_id=f"d{number}", delivery_mode=2, headers=headers)
            channel.basic_publish(f"{_QUEUE}.dead", "", b'{"url":"/x","payload":{"a":1}}', basic)
    acts = {
        "list": ("list", _QUEUE, "--limit", str(count), "--json"),
        "show": ("show", _QUEUE, f"d{count - 1}"),
        "replay": ("replay", _QUEUE, "--all", "--yes"),
    }
    return [
        {"command": f"dead {verb}", "dead": count, **command(config, broker, "dead", *arguments)}
        for verb, arguments in acts.items()
    ]


def main() -> int:
    """Pile up, measure, and print the table."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--sizes", help="numbers of waiting tasks, with commas between, growing")
    parser.add_argument("--dead", type=int, default=_DEAD, help="number of dead tasks")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")] if arguments.sizes else list(_SIZES)
    if arguments.quick:
        sizes, arguments.dead = [2_000], 2_000
    rows: list[report.Row] = []
    with Broker.start() as broker, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "taskqueue.ini"
        config.write_text(_INI.format(server=broker.url, queue=_QUEUE))
        declare(load(config))
        arrivals = Arrivals(broker.url)
        try:
            with Client.from_config(config) as client:
                there = 0
                for size in sizes:
                    report.say(f"piling up to {size:,} waiting tasks")
                    pile(client, size - there, f"w{size}-")
                    there = size
                    rows += waiting(config, broker, client, arrivals, size)
        finally:
            arrivals.end()
        report.say(f"{arguments.dead:,} dead tasks")
        buried = dead(config, broker, arguments.dead)
    report.tell(arguments, "operate", {"One waiting task matches": rows, "Dead tasks": buried})
    return 0


if __name__ == "__main__":
    sys.exit(main())
