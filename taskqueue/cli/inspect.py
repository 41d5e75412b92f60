"""`taskqueue inspect`: how many tasks are where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer
from pika.exceptions import AMQPError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from taskqueue.broker import connect
from taskqueue.cli import app, cells, frame
from taskqueue.errors import BrokerRefused, BrokerUnreachable, ConfigError
from taskqueue.inspect import QueueState, look
from taskqueue.management import Management
from taskqueue.settings import Settings, load

_NAME = "taskqueue inspect"
_NUMBERS = ("ready", "unacked", "waiting", "≤ 1 min", "≤ 1 h", "later", "held", "dead", "consumers")


@app.command()
def inspect(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these queues.", show_default=False)
    ] = None,
    *,
    max_dead: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Exit with 1 where a queue has more dead tasks.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
    as_json: frame.Json = False,
    config: frame.Config = None,
) -> None:
    """Show what is ready, running, waiting and dead; exits with 1 where something is not declared.

    Waiting tasks are counted by the wait queue that holds them: up to a minute, up to an hour, longer.
    A task takes its short legs first, so one that is due later stands among the short ones for a moment.
    What the broker keeps though its stay is over is held: for a moment always, for up to 3 minutes after the
    broker was down. Unacked and held take management_url.
    """
    if watch and as_json:
        raise ConfigError("--watch and --json: choose one of them")
    settings = frame.only(load(config), names)
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(settings, interval, max_dead)
        return
    management = Management(settings)
    with connect(settings, name=_NAME) as connection:
        states = look(connection, settings, settings.queues.values(), management.counts())
    if as_json:
        frame.emit({"queues": [_document(state) for state in states]})
    else:
        cells.show(_table(states, max_dead))
    problems = _problems(states, management, max_dead)
    for problem in problems:
        frame.say(problem, "yellow")
    if any(not state.declared or _too_many(state, max_dead) for state in states):
        raise typer.Exit(frame.FAILED)


def _watch(settings: Settings, interval: float, max_dead: int | None) -> None:
    """Look again and again; a broker that is not there is shown as that, and waited for."""
    management = Management(settings)
    shown: RenderableType = ""
    with _screen() as show:
        while True:
            try:
                with connect(settings, name=_NAME) as connection:
                    while True:
                        management.fault = None
                        states = look(connection, settings, settings.queues.values(), management.counts())
                        problems = [Text(each, "yellow") for each in _problems(states, management, max_dead)]
                        shown = Group(_stamp(), _table(states, max_dead), *problems)
                        show(shown)
                        # Not time.sleep: the heartbeats go on.
                        connection.sleep(interval)
            except (BrokerUnreachable, BrokerRefused, AMQPError) as error:
                show(Group(shown, Text(f"\n{_lost(error)}; trying again", "red")))
                time.sleep(interval)


@contextmanager
def _screen() -> Iterator[Callable[[RenderableType], None]]:
    """Give what shows the next picture: in place of the last on a terminal, below it in a pipe."""
    if not frame.out.is_terminal:
        yield frame.out.print
        return
    with Live(console=frame.out, screen=True, auto_refresh=False) as live:
        yield lambda picture: live.update(picture, refresh=True)


def _lost(error: Exception) -> str:
    return "lost the connection to the broker" if isinstance(error, AMQPError) else str(error)


def _stamp() -> Text:
    return Text(f"{cells.moment(time.time())}   Ctrl-C ends\n", "dim")


def _too_many(state: QueueState, max_dead: int | None) -> bool:
    return max_dead is not None and (state.dead or 0) > max_dead


def _problems(states: tuple[QueueState, ...], management: Management, max_dead: int | None) -> list[str]:
    found = [] if management.fault is None else [f"unacked and held are unknown: {management.fault}"]
    for state in states:
        if state.parked:
            found.append(
                f"{state.name}: {state.parked} put aside by a migration: if none is running, it was "
                "interrupted; `taskqueue declare --migrate` finishes it"
            )
        if not state.declared:
            shown = ", ".join(state.missing[:3]) + (", …" if len(state.missing) > 3 else "")  # noqa: PLR2004
            found.append(f"{state.name}: {len(state.missing)} missing ({shown}): run `taskqueue declare`")
        if _too_many(state, max_dead):
            found.append(
                f"{state.name}: {state.dead} dead, over {max_dead}: see `taskqueue dead list {state.name}`"
            )
    return found


def _table(states: tuple[QueueState, ...], max_dead: int | None) -> Table:
    table = cells.table("queue", *_NUMBERS, right=_NUMBERS)
    for state in states:
        due = state.due
        table.add_row(
            cells.cell(state.name, "" if state.declared else "red"),
            cells.cell(state.ready),
            cells.cell(state.unacked),
            cells.cell(state.waiting),
            *(cells.cell(each) for each in ((due.minute, due.hour, due.later) if due else (None,) * 3)),
            cells.cell(state.held),
            cells.cell(state.dead, "red" if _too_many(state, max_dead) else ""),
            cells.cell(state.consumers),
        )
    return table


def _document(state: QueueState) -> dict[str, Any]:
    return {
        "name": state.name,
        "declared": state.declared,
        "ready": state.ready,
        "unacked": state.unacked,
        "waiting": state.waiting,
        "due": asdict(state.due) if state.due else {"minute": None, "hour": None, "later": None},
        "held": state.held,
        "parked": state.parked,
        "dead": state.dead,
        "consumers": state.consumers,
        "missing": list(state.missing),
    }
