"""The history: what it costs a task, and how long an answer takes with many records in the stream.

Costs: the same tasks with and without it, in turns. Answers: an id that is there, one that is not, and all
that failed. The records are those of a busy consumer, 500 in a batch and 20,000 in an entry of the index, and
those of a quiet one in a week: two in a batch, an entry every five minutes. That week is written in minutes
here, so the difference of clocks that a reader allows for is made shorter in the same measure.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import contenders, report
from benchmarks.processes import machine_cpu, usage
from benchmarks.receiver import Receiver
from benchmarks.throughput import Measured, measure
from sandbox.broker import Broker
from taskqueue import events
from taskqueue.broker.session import Session, connected
from taskqueue.declare.apply import declare
from taskqueue.events import Event
from taskqueue.history import search
from taskqueue.history.records import INTERVAL, Stretch, batch_publish, entry_publish, mark, record
from taskqueue.history.search import Answer
from taskqueue.history.wanted import Wanted
from taskqueue.settings import Settings, parse

_ROUNDS = 5
_STRETCH = 20_000
_WEEK = 7 * 86_400
_FAILING = 100
"""One task in so many fails."""
_OUT = 100
_TRIES = 3
_LONG = 10.0
"""Seconds after which a look is not made again."""


def cost(broker: Broker, folder: Path, count: int, rounds: int) -> list[report.Row]:
    """Run the same tasks with and without a history, in turns; the medians, and the difference."""
    found: dict[str, list[Measured]] = {"off": [], "on": []}
    with Receiver() as receiver:
        field = {}
        for name, keys in {"off": {}, "on": {"history": "7d"}}.items():
            place = folder / name
            place.mkdir()
            ours = contenders.ours(broker, receiver, place, processes=1, threads=8, log_success="off", **keys)
            field[name] = dataclasses.replace(ours, name=f"history {name}")
        for number in range(rounds):
            # Whoever comes first finds the machine another one each time.
            for name in ("off", "on") if number % 2 else ("on", "off"):
                field[name].send(f"{receiver.url}/", count)
                found[name].append(measure(field[name], broker, receiver, count))
                report.say(f"round {number + 1}: history {name}: {found[name][-1].rate:,.0f} tasks/s")
    rows = [_row(name, runs) for name, runs in found.items()]
    off, on = rows
    pairs = [b.rate / a.rate for a, b in zip(found["off"], found["on"], strict=True)]
    return [
        *rows,
        {"history": "on, as a part of off"}
        | {key: on[key] / off[key] if off[key] else None for key in off if key != "history"}
        | {"tasks/s": statistics.median(pairs)},
    ]


def _row(name: str, runs: list[Measured]) -> dict[str, Any]:
    return {
        "history": name,
        "tasks/s": statistics.median(run.rate for run in runs),
        "workers ms/task": statistics.median(run.workers for run in runs),
        "broker ms/task": statistics.median(run.broker for run in runs),
        "workers MiB": statistics.median(run.memory for run in runs),
    }


async def answers(settings: Settings, broker: Broker, count: int, size: int, stretch: int) -> report.Row:
    """Fill the streams with `count` records, `size` in a batch, `stretch` in an entry, and look for some."""
    begin, used = time.monotonic(), usage(broker.pid)
    async with connected(settings, name="benchmark") as session:
        middle = await _fill(session, count, size, stretch)
        filling = time.monotonic() - begin
        if stretch < _STRETCH:
            search.SKEW = max(1, round(search.SKEW * filling / _WEEK))
        now = time.time()
        present = await _timed(lambda: search.find(session, frozenset({middle}), now, _nothing))
        absent = await _timed(lambda: search.find(session, frozenset({"no such id"}), now, _nothing))
        failed = await _timed(
            lambda: search.within(session, Wanted(now - 3600, now, failed=True), count, _nothing)
        )
    return {
        "records": count,
        "in a batch": size,
        "in an entry": stretch,
        "filled in s": filling,
        "an id s": present[0],
        "found": present[1],
        "no id s": absent[0],
        "all that failed s": failed[0],
        "failed": failed[1],
        "broker MiB more": usage(broker.pid).memory - used.memory,
    }


async def _fill(session: Session, count: int, size: int, stretch: int) -> str:
    """Write as the recorder does, with many on their way at once; gives an id from the middle."""
    async with session.own_channel() as channel:
        await channel.confirms()
        out: deque[asyncio.Future[None]] = deque()
        since, first, marks = time.time(), 1, set[int]()
        for number in range(1, count // size + 1):
            base = (number - 1) * size
            names = [f"task-{base + each:032d}" for each in range(size)]
            records = [record(time.time(), _event(name, base + each)) for each, name in enumerate(names)]
            out.append(channel.publish(batch_publish("bench", number, int(time.time() * 1000), records)))
            marks.update(map(mark, names))
            if len(marks) >= stretch or number == count // size:
                now = time.time()
                entry = Stretch("bench", int(since * 1000), int(now * 1000), first, number)
                out.append(channel.publish(entry_publish(entry, marks)))
                since, first, marks = now, number + 1, set()
            while len(out) > _OUT:
                await out.popleft()
        while out:
            await out.popleft()
    return f"task-{count // 2:032d}"


def _event(name: str, number: int) -> Event:
    url = f"https://app.example.com/customers/{number % 997}/invoices"
    if number % _FAILING:
        return Event(events.DONE, "mail", name, 1, url, 200, 0.012, 0.034)
    return Event(events.DEAD, "mail", name, 3, url, 500, 0.012, 0.034, reason="failed", error="status 500")


async def _timed(look: Callable[[], Awaitable[Answer]]) -> tuple[float, int]:
    times = []
    found = 0
    for _ in range(_TRIES):
        begin = time.monotonic()
        found = len((await look()).records)
        times.append(time.monotonic() - begin)
        report.say(f"{found} found in {times[-1]:.2f} s")
        if times[-1] > _LONG:
            break
    return statistics.median(times), found


def _nothing(_count: int) -> None:
    """Show no progress."""


def _settings(broker: Broker) -> Settings:
    text = f"server = {broker.url}\nhistory = 7d\nlevels = 1\n[bench]\n"
    return parse(text, source="benchmark", environ={})


def main() -> int:
    """Measure, and print the tables."""
    parser = report.parser(__doc__ or "")
    parser.add_argument("--tasks", type=int, default=15_000, help="tasks of each turn")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("cost", "answers"), default=None)
    arguments = parser.parse_args()
    tasks, rounds, records = arguments.tasks, arguments.rounds, arguments.records
    if arguments.quick:
        tasks, rounds, records = 1_000, 1, 20_000
    tables: dict[str, list[report.Row]] = {}
    before, begin = machine_cpu(), time.monotonic()
    if arguments.only != "answers":
        with Broker.start() as broker, tempfile.TemporaryDirectory() as name:
            tables["cost, medians; 1 process of 8 threads"] = cost(broker, Path(name), tasks, rounds)
    if arguments.only != "cost":
        rows = []
        for size, stretch in ((500, _STRETCH), (2, records // (_WEEK // int(INTERVAL)))):
            with Broker.start() as broker:
                settings = _settings(broker)
                declare(settings)
                report.say(f"{records:,} records, {size} in a batch")
                rows.append(asyncio.run(answers(settings, broker, records, size, stretch)))
        tables["answers"] = rows
    busy = (machine_cpu() - before) / (time.monotonic() - begin)
    tables["machine"] = [{"what": "cores busy on average", "value": busy}]
    report.tell(arguments, "history", tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
