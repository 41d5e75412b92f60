"""Many queues in one configuration, on ladders of their own and on a shared one: what each costs.

For each number of queues: the time to declare them, and again; what the broker's memory grows by and its CPU
while nothing happens; how soon a consumer takes from all of them, with how much memory and how many threads;
the time of `inspect`; and the lateness of one task through each queue, all due at the same instant.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.processes import usage
from benchmarks.receiver import Receiver
from sandbox.broker import Broker
from taskqueue.send.client import Client

_IDLE = 20.0
_LEAD = 10.0
_PATIENCE = 600.0


def main() -> None:
    """Measure each size on a fresh broker, side by side."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--queues", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--most-own", type=int, default=50, help="the most queues with ladders of their own")
    arguments = parser.parse_args()
    sizes, most = ([1, 20], 20) if arguments.quick else (arguments.queues, arguments.most_own)
    rows = []
    for count in sizes:
        for shared in (False, True):
            if shared or count <= most:
                report.say(f"{count} queues, {'one shared ladder' if shared else 'ladders of their own'}")
                rows.append(_measure(count, shared=shared))
    report.tell(arguments, "queues", {"many queues": rows})


def _measure(count: int, *, shared: bool) -> report.Row:
    with Broker.start() as broker, Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "taskqueue.ini"
        names = [f"customer-{number}" for number in range(count)]
        keys = f"server = {broker.url}\nbase_url = {receiver.url}\n" + ("ladder = all\n" if shared else "")
        config.write_text(keys + "".join(f"[{name}]\n" for name in names))
        before = usage(broker.pid).memory
        first = _timed("declare", config)
        again = _timed("declare", config)
        grown, idle = usage(broker.pid).memory - before, _idle(broker.pid)
        consumer, ready = _consumer(config, count)
        try:
            threads, memory = _threads(consumer.pid), usage(consumer.pid).memory
            inspected = _timed("inspect", config)
            late = _one_each(config, names, receiver)
        finally:
            consumer.terminate()
            consumer.wait(60)
    return {
        "queues": count,
        "ladder": "shared" if shared else "own",
        "declare s": first,
        "again s": again,
        "broker MiB": grown,
        "broker idle %": idle * 100,
        "consuming s": ready,
        "consumer MiB": memory,
        "threads": threads,
        "inspect s": inspected,
        "p50 ms": statistics.median(late) * 1000,
        "p99 ms": report.percentile(late, 99) * 1000,
    }


def _timed(command: str, config: Path) -> float:
    start = time.monotonic()
    quiet = subprocess.DEVNULL
    subprocess.run(_command(command, config), check=True, stdout=quiet, stderr=quiet)
    return time.monotonic() - start


def _command(command: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "taskqueue", command, "--config", str(config)]


def _idle(pid: int) -> float:
    before, start = usage(pid).cpu, time.monotonic()
    time.sleep(_IDLE)
    return (usage(pid).cpu - before) / (time.monotonic() - start)


def _consumer(config: Path, count: int) -> tuple[subprocess.Popen[str], float]:
    start = time.monotonic()
    process = subprocess.Popen(
        _command("run", config), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    left = count
    for line in process.stderr or ():
        left -= "consuming from" in line
        if not left:
            return process, time.monotonic() - start
    raise SystemExit(f"the consumer ended with {process.wait()}")


def _threads(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def _one_each(config: Path, names: list[str], receiver: Receiver) -> list[float]:
    receiver.clear()
    with Client.from_config(config) as client:
        due = time.time() + _LEAD + len(names) / 500
        client.send_many({"url": "/", "queue": name, "eta": due} for name in names)
        if time.time() > due - 1:
            raise SystemExit("sending took longer than the time that was left for it")
    end = due + _PATIENCE
    while receiver.count() < len(names):
        if time.time() > end:
            raise SystemExit(f"only {receiver.count()} of {len(names)} tasks have run")
        time.sleep(0.2)
    return [arrival.at - due for arrival in receiver.arrivals()]


if __name__ == "__main__":
    main()
