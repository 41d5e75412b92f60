"""How much of a rate is spent while consumers join, leave and are killed: in each window of ten seconds.

A backlog of tasks is run by `taskqueue run`s of two processes each. One begins, two join it, one is killed,
one joins, one leaves, and the broker is restarted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import report
from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue.declare.apply import declare
from taskqueue.send.client import Client
from taskqueue.settings import load

WINDOW = 10.0
_SETTLING = 5.0
"""Seconds after a change from which on a window is to have the rate."""
_CHANGE = 15.0
"""Seconds that a change takes at most, for which there are tasks too."""


def main() -> None:
    """Measure the windows of each phase, those that begin a few seconds after its change apart."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--phase", type=float, default=25.0, help="seconds of each phase")
    arguments = parser.parse_args()
    phase = WINDOW + _SETTLING + 1 if arguments.quick else arguments.phase
    with Broker.start() as broker, Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        crowd = _Crowd(broker, receiver, Path(folder), arguments.rate)
        try:
            changes: dict[str, Callable[[], None]] = {
                "one begins": crowd.join,
                "two join": lambda: crowd.join(2),
                "one is killed": lambda: crowd.end(signal.SIGKILL),
                "one joins": crowd.join,
                "one leaves": lambda: crowd.end(signal.SIGTERM),
                "broker restarts": crowd.restart,
            }
            crowd.send(round(arguments.rate * (phase + _CHANGE) * len(changes)))
            rows: list[report.Row] = []
            for change, function in changes.items():
                report.say(change)
                before = len(receiver.requests)
                function()
                begun = time.time()
                if not rows or change == "broker restarts":
                    crowd.runs(before + 1)
                    begun = time.time()
                time.sleep(phase)
                rows.append({"change": change, **crowd.windows(begun, begun + phase)})
        finally:
            crowd.close()
    report.tell(arguments, "shares", {f"of {arguments.rate:g}/s, in windows of {WINDOW:g} s": rows})


class _Crowd:
    """The consumers of one queue with a rate."""

    def __init__(self, broker: Broker, receiver: Receiver, folder: Path, rate: float) -> None:
        self._broker, self._receiver, self._rate = broker, receiver, rate
        self._config = folder / "taskqueue.ini"
        self._config.write_text(
            f"server = {broker.url}\nbase_url = {receiver.url}\nlevels = 3\nlog_success = off\n"
            f"processes = 2\n[paced]\nrate = {rate:g}/s\n"
        )
        self._consumers: list[subprocess.Popen[bytes]] = []
        declare(load(self._config))

    def send(self, tasks: int) -> None:
        """Have a backlog."""
        with Client.from_config(self._config) as client:
            client.send_many({"url": "/", "queue": "paced"} for _ in range(tasks))

    def join(self, count: int = 1) -> None:
        """Start so many more."""
        command = [sys.executable, "-m", "taskqueue", "run", "--config", str(self._config)]
        self._consumers += [subprocess.Popen(command, start_new_session=True) for _ in range(count)]

    def end(self, number: signal.Signals) -> None:
        """End the eldest, all of its processes where it is killed."""
        eldest = self._consumers.pop(0)
        if number is signal.SIGKILL:
            os.killpg(eldest.pid, number)
        else:
            eldest.send_signal(number)
        eldest.wait(60)

    def restart(self) -> None:
        """Kill the broker, and start it again."""
        self._broker.kill()
        self._broker.restart()

    def runs(self, count: int) -> None:
        """Wait until so many requests have come."""
        self._receiver.wait_for(count, timeout=120)

    def windows(self, begin: float, end: float) -> report.Row:
        """Give the least and the most of the rate that any window had, in all and once it had settled."""
        times = sorted(request.at for request in self._receiver.requests)
        found = {"": (begin, end), " after 5 s": (begin + _SETTLING, end)}
        row: dict[str, float] = {}
        for name, (first, last) in found.items():
            parts = _parts(times, first, last, self._rate)
            row[f"least{name}"], row[f"most{name}"] = min(parts), max(parts)
        return row

    def close(self) -> None:
        """End all."""
        for each in self._consumers:
            each.terminate()
        for each in self._consumers:
            each.wait(60)


def _parts(times: Sequence[float], begin: float, end: float, rate: float) -> list[float]:
    starts = [begin + step / 10 for step in range(int((end - begin - WINDOW) * 10) + 1)]
    return [sum(start <= at < start + WINDOW for at in times) / (rate * WINDOW) for start in starts]


if __name__ == "__main__":
    main()
