"""The contenders: how each one's workers are started, and how its tasks are sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.receiver import Receiver
from sandbox.broker import Broker

_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run tasks; commands are arguments of Python."""

    name: str
    workers: tuple[tuple[str, ...], ...]
    """The command of each process that is started; it may start more."""
    sender: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def send(self, url: str, count: int, *, rate: float = 0, delays: tuple[float, float] = (0, 0)) -> None:
        """Send `count` tasks and wait until the last is confirmed."""
        self.start_sending(url, count, rate=rate, delays=delays).finish()

    def start_sending(self, url: str, count: int, *, rate: float, delays: tuple[float, float]) -> Running:
        """Send `count` tasks at `rate` a second, each due after a delay in `delays` (seconds)."""
        numbers = [str(number) for number in (count, rate, *delays)]
        return Running([(*self.sender, url, *numbers)], self.environment)

    @contextmanager
    def working(self) -> Iterator[Running]:
        """Run the workers for a ``with`` block."""
        running = Running(self.workers, self.environment)
        try:
            yield running
        finally:
            running.stop()


class Running:
    """Processes that run; what they write is kept for the case that one of them fails."""

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the processes
        self._processes = [
            subprocess.Popen(
                [sys.executable, *command], env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
            )
            for command in commands
        ]  # fmt: skip

    @property
    def pids(self) -> list[int]:
        """Give the process ids of what was started."""
        return [process.pid for process in self._processes]

    def check(self) -> None:
        """Raise RuntimeError with what was written if one of them has ended."""
        if any(process.poll() is not None for process in self._processes):
            raise RuntimeError(f"a process has ended:\n{self._written()}")

    def finish(self) -> None:
        """Wait for the end of all; raises RuntimeError with what was written if one has failed."""
        codes = [process.wait() for process in self._processes]
        if any(codes):
            raise RuntimeError(f"a process has failed ({codes}):\n{self._written()}")

    def stop(self) -> None:
        """Ask all to end, and end what does not by force."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._log.close()

    def _written(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-3000:]


def ours(
    broker: Broker, receiver: Receiver, folder: Path, *, processes: int, threads: int, **keys: str
) -> Contender:
    """Give taskqueue, with its queue declared."""
    path = folder / "taskqueue.ini"
    lines = [f"server = {broker.url}", *(f"{key} = {value}" for key, value in keys.items())]
    path.write_text(
        "\n".join([*lines, "[ours]", f"base_url = {receiver.url}", f"concurrency = {threads}", ""])
    )
    subprocess.run(
        [sys.executable, "-m", "taskqueue", "declare", "--config", str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    run = (
        "-m", "taskqueue", "run", "--processes", str(processes),
        "--config", str(path), "--log-level", "warning",
    )  # fmt: skip
    environment = {"BENCHMARK_BROKER": broker.url, "BENCHMARK_QUEUE": "ours"}
    return Contender("taskqueue", (run,), ("-m", "benchmarks.peers.ours"), environment)


def celery(broker: Broker, *, processes: int, native: bool = True, prefetch: int = 4) -> Contender:
    """Give Celery's prefork pool; without `native` its delayed tasks wait in the workers' memory."""
    queue = "celery" if native else "celery-memory"
    environment = {
        "BENCHMARK_BROKER": broker.url, "BENCHMARK_QUEUE": queue, "BENCHMARK_PREFETCH": str(prefetch),
        **({} if native else {"BENCHMARK_CLASSIC": "1"}),
    }  # fmt: skip
    module = "benchmarks.peers.celery_app"
    run = (
        "-m", "celery", "-A", module, "worker", "--pool", "prefork", "--concurrency", str(processes),
        "--queues", queue, "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    return Contender("Celery" if native else "Celery, in memory", (run,), ("-m", module), environment)


def dramatiq(broker: Broker, *, processes: int, threads: int) -> Contender:
    """Give Dramatiq."""
    module = "benchmarks.peers.dramatiq_app"
    run = ("-m", "dramatiq", module, "--processes", str(processes), "--threads", str(threads))
    environment = {"BENCHMARK_BROKER": broker.url, "BENCHMARK_QUEUE": "dramatiq"}
    return Contender("Dramatiq", (run,), ("-m", module), environment)


def taskiq(broker: Broker, *, processes: int, threads: int) -> Contender:
    """Give taskiq; `threads` are its tasks of each process at a time."""
    module = "benchmarks.peers.taskiq_app"
    run = (
        "-m", "taskiq", "worker", f"{module}:broker", "--workers", str(processes),
        "--max-async-tasks", str(threads), "--ack-type", "when_executed", "--log-level", "WARNING",
    )  # fmt: skip
    environment = {
        "BENCHMARK_BROKER": broker.url, "BENCHMARK_QUEUE": "taskiq",
        "BENCHMARK_PREFETCH": str(threads * 2 + 10),
    }  # fmt: skip
    return Contender("taskiq", (run,), ("-m", module), environment)


def by_hand(broker: Broker, *, processes: int, threads: int) -> Contender:
    """Give the consumer that one writes by hand; `threads` are its requests of each process at a time."""
    module = "benchmarks.peers.asyncio_consumer"
    run = ("-m", module, "consume", str(threads))
    environment = {"BENCHMARK_BROKER": broker.url, "BENCHMARK_QUEUE": "asyncio"}
    return Contender("asyncio, by hand", (run,) * processes, ("-m", module), environment)


def raw(receiver: Receiver, *, processes: int, threads: int, requests: int) -> Contender:
    """Give the loop without a broker; it sends nothing, and its workers end by themselves."""
    run = ("-m", "benchmarks.peers.raw_loop", f"{receiver.url}/", str(threads), str(requests // processes))
    return Contender("urllib3 loop, no broker", (run,) * processes, ())
