"""`taskqueue retries`: when a task that fails each time would run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Annotated

import typer

from taskqueue.cli import common
from taskqueue.durations import duration
from taskqueue.settings import QueueSettings, Settings, load

commands = common.commands()


@dataclass(frozen=True, slots=True)
class Retry:
    """One attempt; lengths of time are in seconds, and without what the attempts themselves take."""

    attempt: int
    wait: float
    """After the one before, in the middle of the jitter."""
    after: float
    """After the first attempt, in the middle of the jitter."""
    earliest: float
    latest: float
    at: float
    """POSIX seconds, if the first attempt were made now."""


@commands.command()
def retries(
    queue: Annotated[
        str, typer.Argument(metavar="QUEUE", help="The queue by whose settings it runs.", show_default=False)
    ],
    *,
    max_retries: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="As a task with this max_retries.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")] = 20,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Show when a task that fails would run again: each attempt, and how long after the first.

    Each wait is the queue's backoff, and the jitter makes it shorter or longer. A Retry-After may make it
    longer, and what the attempts themselves take (timeout at most) comes on top.
    """
    settings = common.only(load(config), [queue])
    policy = settings.queues[queue]
    most = policy.retry_limit if max_retries is None else max_retries
    runs = None if most is None else max(1, most)
    shown = list(islice(times(policy, settings, time.time()), limit if runs is None else min(limit, runs)))
    if as_json:
        rows = [{name: round(value, 3) for name, value in asdict(each).items()} for each in shown]
        common.emit({"queue": queue, "attempts": runs, "retries": rows})
        return
    _show(shown, jitter=bool(policy.jitter))
    common.say(_rest(shown, runs), "dim")


def times(policy: QueueSettings, settings: Settings, now: float) -> Iterator[Retry]:
    """Yield every attempt of a task that fails each time; without an end."""
    from taskqueue.task.backoff import backoff  # noqa: PLC0415 where it is asked for, and not for `--help`

    rungs = settings.rungs

    def waits(failures: int, spread: float) -> float:
        # A wait is rounded up to ticks.
        return float(rungs.ticks(backoff(policy, failures, spread) * 1000) * rungs.resolution)

    middle = earliest = latest = wait = 0.0
    attempt = 1
    while True:
        yield Retry(attempt, wait, middle, earliest, latest, now + middle)
        wait = waits(attempt, 0)
        middle, earliest, latest = (
            middle + wait,
            earliest + waits(attempt, -1),
            latest + waits(attempt, 1),
        )
        attempt += 1


def _show(shown: list[Retry], *, jitter: bool) -> None:
    from taskqueue.cli import tables  # noqa: PLC0415

    columns = ("attempt", "wait", "after", *(("earliest", "latest") if jitter else ()), "at")
    table = tables.table(*columns, right=("attempt",))
    for each in shown:
        row = asdict(each) | {
            "wait": duration(each.wait) if each.attempt > 1 else None,
            "after": duration(each.after),
            "earliest": duration(each.earliest),
            "latest": duration(each.latest),
            "at": tables.moment(each.at),
        }
        table.add_row(*(tables.cell(row[name]) for name in columns))
    tables.show(table)


def _rest(shown: list[Retry], runs: int | None) -> str:
    last = shown[-1].attempt
    if runs is None:
        return f"{last} attempts of a task that is tried for ever: neither it nor the queue has a limit"
    if last < runs:
        return f"{last} of {runs} attempts; dead after the last"
    return f"dead after attempt {last}"
