"""`taskqueue inspect`: how many tasks are where, when they come due, and why nothing runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from taskqueue.broker.management import Management
from taskqueue.broker.session import connected, run
from taskqueue.cli import common, console, insight, queues, tables
from taskqueue.errors import ConfigError, NotKnown
from taskqueue.operate.overview import look
from taskqueue.operate.picture import SORTS, Picture, Sort
from taskqueue.settings import Settings, load

commands = common.commands()
_NAME = "taskqueue inspect"


@commands.command()
def inspect(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these queues.", show_default=False)
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="With many queues, show those with nothing in them, too.")
    ] = False,
    sort: Annotated[str, typer.Option(metavar="BY", help=f"Sort by {', '.join(SORTS)}.")] = "ini",
    max_dead: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Exit with 1 where a queue has more dead tasks.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live until q or Ctrl-C.")] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print it for Prometheus (docs/monitoring.md).")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Show what is ready, running, waiting and dead; exits with 1 where something is missing or unknown.

    One queue is told in words and bars: when its tasks come due, how late they will be, why nothing runs.

    Waiting tasks are due within a minute or an hour at the latest, or maybe later: the wait queue that holds
    them tells no more, and each may be due sooner. A question mark stands for what is not known: a leader
    does not answer, or somebody looks through the queue. A task is held when its stay in a wait queue is over
    and the broker has not handed it on: always for a moment, for up to 3 minutes after the broker was down.
    Unacked, held, rates (means over 30 s) and rungs that the ini no longer names need management_url.
    """
    if watch + as_json + prometheus > 1:
        raise ConfigError("--watch, --json and --prometheus: choose one of them")
    by = next((each for each in SORTS if each == sort), None)
    if by is None:
        raise ConfigError(f"--sort must be one of {', '.join(SORTS)}, got {sort!r}")
    settings = common.only(load(config), names)
    one = len(names or ()) == 1
    if watch:
        from taskqueue.cli import watch as live  # noqa: PLC0415 only where it is wanted

        screen = live.Screen(one, by, every or bool(names))
        run(live.watch(settings, screen, interval=interval, max_dead=max_dead))
        return
    if prometheus:
        picture = _exposed(settings, max_dead)
    else:
        picture = run(_look(settings, max_dead))
        _print(picture, by, one=one, every=every or bool(names), as_json=as_json)
    for problem in picture.further() if one and not as_json else picture.problems():
        common.say(problem, "yellow")
    if picture.failed:
        raise typer.Exit(common.FAILED)


def _print(picture: Picture, by: Sort, *, one: bool, every: bool, as_json: bool) -> None:
    if as_json:
        common.emit(picture.document())
    elif one:
        _tell(picture)
    else:
        _list(picture, by, every=every)


def _list(picture: Picture, by: Sort, *, every: bool) -> None:
    found = queues.rows(picture, sort=by, every=every)
    tables.show(queues.table(found.lines, console.out.width))
    if note := found.note():
        common.say(note, "dim")


def _exposed(settings: Settings, max_dead: int | None) -> Picture:
    from taskqueue.operate import exposition, schedules  # noqa: PLC0415 only where it is wanted

    async def work() -> tuple[Picture, tuple[schedules.ScheduleState, ...]]:
        async with connected(settings, name=_NAME) as session:
            found = await look(session, settings, Management(settings))
            try:
                timed = await schedules.states(session, settings, sorted(settings.scheduled))
            except NotKnown as error:
                common.say(str(error), "yellow")
                timed = ()
            return Picture(found, max_dead), timed

    picture, timed = run(work())
    # Whatever the locale is: Prometheus reads UTF-8.
    sys.stdout.buffer.write(exposition.exposition(picture.overview, timed).encode())
    sys.stdout.flush()
    return picture


def _tell(picture: Picture) -> None:
    for view in picture.overview.views:
        for line in insight.lines(view, picture.overview.at, console.out.width):
            console.out.print(line)


async def _look(settings: Settings, max_dead: int | None) -> Picture:
    async with connected(settings, name=_NAME) as session:
        return Picture(await look(session, settings, Management(settings)), max_dead)
