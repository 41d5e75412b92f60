"""`make bench`: how many tasks a second one consumer runs, and how late delayed ones are.

The receiver is a small Python server on the same machine, and the broker a private node there: the
figures are for comparing one change with another, not for planning capacity.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pika

from sandbox.broker import Broker, BrokerError
from sandbox.commands import CommandFailed, Commands
from sandbox.receiver import Receiver, Request
from taskqueue import Client

PATIENCE = 300.0
QUEUE = "bench"
INI = """\
server = {server}
levels = 4

[bench]
base_url = {receiver}
concurrency = {concurrency}
"""


def main() -> int:
    """Measure, and print one JSON document."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        print(json.dumps(measure(options.tasks, options.concurrency), indent=2))
    except (BrokerError, CommandFailed, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measure(tasks: int, concurrency: int) -> dict[str, float]:
    """Run so many tasks at once, and then as many that are due over five seconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskqueue-bench-")))
        broker = stack.enter_context(Broker.start())
        receiver = stack.enter_context(Receiver())
        commands = Commands(folder / "taskqueue.ini")
        commands.ini.write_text(INI.format(server=broker.url, receiver=receiver.url, concurrency=concurrency))
        commands.read("declare")
        channel = pika.BlockingConnection(pika.URLParameters(broker.url)).channel()
        stack.callback(channel.connection.close)
        client = stack.enter_context(Client.from_config(commands.ini, timeout=PATIENCE))
        sent = _send(client, [0.0] * tasks)
        with commands.consumer(channel, QUEUE):
            burst = receiver.wait_for(tasks, PATIENCE)
            receiver.clear()
            delayed_sent = _send(client, [1 + 5 * number / tasks for number in range(tasks)])
            lateness = sorted(_late(request) for request in receiver.wait_for(tasks, PATIENCE))
    return {
        "tasks": tasks,
        "sent_per_second": round(tasks / sent),
        "delayed_sent_per_second": round(tasks / delayed_sent),
        "run_per_second": round((tasks - 1) / (burst[-1].at - burst[0].at)),
        "late_ms_earliest": round(lateness[0] * 1000, 1),
        "late_ms_median": round(statistics.median(lateness) * 1000, 1),
        "late_ms_p99": round(lateness[int(len(lateness) * 0.99)] * 1000, 1),
        "late_ms_worst": round(lateness[-1] * 1000, 1),
    }


def _send(client: Client, countdowns: Sequence[float]) -> float:
    """Send tasks with these countdowns and give the seconds until the last one was confirmed."""
    start = time.perf_counter()
    client.send_many({"url": "/", "queue": QUEUE, "countdown": countdown} for countdown in countdowns)
    return time.perf_counter() - start


def _late(request: Request) -> float:
    return request.at - float(request.headers["Taskqueue-Due"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="how many of each kind (2000)")
    parser.add_argument("--concurrency", type=int, default=20, help="of the consumer (20)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
