"""Tasks executed a second, side by side: taskqueue, its peers, a consumer by hand and a bare urllib3 loop.

Each contender's queue is filled, its workers are started, and the receiver's log tells how fast the
requests come; the first tenth (starting) and the last twentieth (running dry) do not count.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contenders, report
from benchmarks.contenders import Contender
from benchmarks.processes import usage
from benchmarks.receiver import Receiver
from sandbox.broker import Broker

_FROM, _TO = 0.1, 0.95
_STALL_SECONDS = 60
_PROCESSES = 2
_SLOW = ((0.2, 100), (0.2, 500), (1.0, 100), (1.0, 500))
"""What a slow receiver takes (seconds), and requests of each process at a time."""
_SLOW_SECONDS = 6
"""How long a slow receiver takes for all tasks, where as many as can be are on their way."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What had been done and used at one moment."""

    at: float
    done: int
    workers: float
    broker: float
    receiver: float
    memory: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender: tasks a second, and milliseconds of CPU for each task."""

    rate: float
    workers: float
    broker: float
    receiver: float
    memory: float
    """MiB of all its processes, at most."""


def measure(contender: Contender, broker: Broker, receiver: Receiver, count: int) -> Measured:
    """Run `count` tasks that are in the queue already, and watch."""
    receiver.clear()
    samples: list[Sample] = []
    with contender.working() as running:
        progressed = time.monotonic()
        while not samples or samples[-1].done < count * _TO:
            # A sampler's step, not a wait for something.
            time.sleep(0.1)
            workers = usage(*running.pids)
            sample = Sample(
                time.monotonic(), receiver.count(), workers.cpu,
                usage(broker.pid).cpu, usage(receiver.pid).cpu, workers.memory,
            )  # fmt: skip
            if samples and sample.done > samples[-1].done:
                progressed = sample.at
            elif sample.at - progressed > _STALL_SECONDS:
                running.check()
                raise RuntimeError(
                    f"{contender.name} makes no requests any more ({sample.done} of {count} made)"
                )
            samples.append(sample)
        end = time.monotonic() + _STALL_SECONDS
        while receiver.count() < count and time.monotonic() < end:
            time.sleep(0.05)
    first = next(sample for sample in samples if sample.done >= count * _FROM)
    last = samples[-1]
    tasks = last.done - first.done
    return Measured(
        tasks / (last.at - first.at),
        (last.workers - first.workers) / tasks * 1000,
        (last.broker - first.broker) / tasks * 1000,
        (last.receiver - first.receiver) / tasks * 1000,
        max(sample.memory for sample in samples),
    )


def rows(results: dict[str, list[Measured]]) -> list[report.Row]:
    """Make the table: medians over the rounds, and what taskqueue is to each."""
    medians = {name: statistics.median(run.rate for run in runs) for name, runs in results.items()}
    ours = medians.get("taskqueue")
    return [
        {
            "contender": name,
            "tasks/s": medians[name],
            "from": min(run.rate for run in runs),
            "to": max(run.rate for run in runs),
            "x as fast is taskqueue": ours and ours / medians[name],
            "workers ms/task": statistics.median(run.workers for run in runs),
            "broker ms/task": statistics.median(run.broker for run in runs),
            "receiver ms/task": statistics.median(run.receiver for run in runs),
            "workers MiB": statistics.median(run.memory for run in runs),
        }
        for name, runs in results.items()
    ]


def compare(
    field: list[Contender], broker: Broker, receiver: Receiver, count: int, *, rounds: int = 1
) -> list[report.Row]:
    """Let one after the other run `count` tasks, `rounds` times."""
    results: dict[str, list[Measured]] = {each.name: [] for each in field}
    for number in range(rounds):
        for contender in field:
            if contender.sender:
                report.say(f"round {number + 1}: {contender.name}: sending {count:,} tasks")
                contender.send(f"{receiver.url}/", count)
            measured = measure(contender, broker, receiver, count)
            report.say(f"round {number + 1}: {contender.name}: {measured.rate:,.0f} tasks/s")
            results[contender.name].append(measured)
    return rows(results)


def slow(
    broker: Broker, folder: Path, only: list[str], *, threads: int, seconds: float, quick: bool
) -> tuple[str, list[report.Row]]:
    """Compare those that can have many requests on their way, with a receiver that takes its time."""
    possible = _PROCESSES * threads / seconds
    count = int(possible * (_SLOW_SECONDS / 4 if quick else _SLOW_SECONDS))
    with Receiver(seconds=seconds) as receiver:
        field = [
            contenders.ours(broker, receiver, folder, processes=_PROCESSES, threads=threads),
            contenders.by_hand(broker, processes=_PROCESSES, threads=threads),
            contenders.taskiq(broker, processes=_PROCESSES, threads=threads),
        ]
        heading = (
            f"answers after {seconds:g} s, {_PROCESSES} x {threads} at a time: {possible:,.0f}/s possible"
        )
        return heading, compare(_limited(field, only), broker, receiver, count)


def failing(broker: Broker, folder: Path, count: int) -> tuple[str, list[report.Row]]:
    """Measure attempts a second, each of which fails and goes through the ladder to the next."""
    with Receiver(status=500) as receiver:
        again = {"min_backoff_seconds": "1", "max_backoff_seconds": "1"}
        field = [contenders.ours(broker, receiver, folder, processes=_PROCESSES, threads=8, **again)]
        field[0].send(f"{receiver.url}/", count)
        # What is sent here comes on top, and each is tried until this many attempts are made.
        table = compare(field, broker, receiver, count)
    return f"{2 * count:,} tasks that fail every time, attempts/s, {_PROCESSES} x 8 at a time", table


def _limited(field: list[Contender], only: list[str]) -> list[Contender]:
    return [each for each in field if not only or each.name.split(",")[0].split()[0] in only]


def main() -> int:
    """Compare, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of each contender in each round")
    parser.add_argument(
        "--rounds", type=int, default=1, help="interleaved rounds, of which the median is taken"
    )
    parser.add_argument("--processes", type=int, default=_PROCESSES)
    parser.add_argument(
        "--threads", type=int, default=8, help="threads of each process (Celery: as many processes)"
    )
    parser.add_argument("--only", default="", help="names of contenders, with commas between")
    parser.add_argument("--no-slow", action="store_true", help="no slow receivers, and none that fails")
    arguments = parser.parse_args()
    count, rounds = (2_000, 1) if arguments.quick else (arguments.tasks, arguments.rounds)
    crew = {"processes": arguments.processes, "threads": arguments.threads}
    only = [name for name in arguments.only.split(",") if name]
    with Broker.start() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Receiver() as receiver:
            field = [
                contenders.raw(receiver, **crew, requests=count),
                contenders.ours(broker, receiver, folder, **crew),
                contenders.by_hand(broker, **crew),
                contenders.taskiq(broker, **crew),
                contenders.dramatiq(broker, **crew),
                contenders.celery(broker, processes=arguments.processes * arguments.threads),
            ]
            heading = (
                f"{count:,} due tasks, {arguments.processes} x {arguments.threads} requests at a time, "
                "quorum queues"
            )
            tables = {heading: compare(_limited(field, only), broker, receiver, count, rounds=rounds)}
        if not arguments.no_slow:
            for seconds, threads in _SLOW:
                title, table = slow(
                    broker, folder, only, threads=threads, seconds=seconds, quick=arguments.quick
                )
                tables[title] = table
            if not only or "taskqueue" in only:
                title, table = failing(broker, folder, count)
                tables[title] = table
    report.tell(arguments, "throughput", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
