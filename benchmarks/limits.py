"""What limits that hold over all consumers cost a task: CPU of the broker and of the consumers, and time.

Tasks that were sent before are run by three consumers: without a limit, with a rate that is never reached,
with twice as many permits as threads, with as many, with both, and with fewer permits than threads, which run
fewer tasks.
The CPU of the broker is that of sending and of running them, without what it takes while it is idle.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.processes import usage
from benchmarks.receiver import Receiver
from sandbox.broker import Broker
from taskqueue.declare.apply import declare
from taskqueue.send.client import Client
from taskqueue.settings import load

CONSUMERS = 3
THREADS = 10
ALL = CONSUMERS * THREADS
_RATE = "100000/s"
_PATIENCE = 600.0
_IDLE = 10.0
LIMITS: Mapping[str, str] = {
    "none": "",
    "rate": f"rate = {_RATE}",
    f"max_concurrency = {2 * ALL}": f"max_concurrency = {2 * ALL}",
    f"max_concurrency = {ALL}": f"max_concurrency = {ALL}",
    "rate and max_concurrency": f"rate = {_RATE}\nmax_concurrency = {2 * ALL}",
    "max_concurrency = 6": "max_concurrency = 6",
    "max_concurrency = 1": "max_concurrency = 1",
}

NARROW = frozenset({"max_concurrency = 6", "max_concurrency = 1"})


def main() -> None:
    """Measure each limit on the same broker, with a queue of its own."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    tasks = 1000 if arguments.quick else arguments.tasks
    rows: list[report.Row] = []
    with Broker.start() as broker:
        idle = _idle(broker)
        for number in range(arguments.rounds):
            for limit in LIMITS:
                report.say(f"{limit}, round {number + 1}")
                some = tasks // 10 if limit in NARROW else tasks
                rows.append(_measure(broker, f"q{len(rows)}", limit, some, idle))
    report.tell(arguments, "limits", {"a limit over three consumers": rows})


def _measure(broker: Broker, queue: str, limit: str, tasks: int, idle: float) -> report.Row:
    with Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "taskqueue.ini"
        config.write_text(
            f"server = {broker.url}\nbase_url = {receiver.url}\nconcurrency = {THREADS}\nlevels = 3\n"
            f"log_success = off\n[{queue}]\n{LIMITS[limit]}\n"
        )
        declare(load(config))
        before, sending = usage(broker.pid).cpu, time.monotonic()
        with Client.from_config(config) as client:
            client.send_many({"url": "/", "queue": queue} for _ in range(tasks))
        start = time.monotonic()
        consumers = [_consumer(config) for _ in range(CONSUMERS)]
        try:
            end = time.monotonic() + _PATIENCE
            while receiver.count() < tasks:
                if time.monotonic() > end:
                    raise SystemExit(f"only {receiver.count()} of {tasks} tasks have run")
                time.sleep(0.1)
            seconds, cost = time.monotonic() - start, usage(broker.pid).cpu - before
            cost -= idle * (time.monotonic() - sending)
            own = sum(usage(each.pid).cpu for each in consumers)
        finally:
            for each in consumers:
                each.terminate()
            for each in consumers:
                each.wait(60)
    return {
        "limit": limit,
        "tasks": tasks,
        "tasks/s": tasks / seconds,
        "broker ms": cost / tasks * 1000,
        "consumers ms": own / tasks * 1000,
    }


def _idle(broker: Broker) -> float:
    """Measure the CPU seconds a second of a broker that has nothing to do."""
    # A node that has just begun has things to do.
    time.sleep(_IDLE)
    before = usage(broker.pid).cpu
    time.sleep(_IDLE)
    return (usage(broker.pid).cpu - before) / _IDLE


def _consumer(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "taskqueue", "run", "--config", str(config)])


if __name__ == "__main__":
    main()
