"""`taskqueue schedule`: list schedules, run one now, pause and resume one."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from taskqueue import events
from taskqueue.broker.session import connected
from taskqueue.broker.session import run as run_session
from taskqueue.cli import common, tables
from taskqueue.cron import moment
from taskqueue.errors import ConfigError
from taskqueue.history import acts
from taskqueue.operate import schedules
from taskqueue.operate.schedules import ScheduleState
from taskqueue.settings import Settings, load

_NAME = "taskqueue schedule"
_GOOD, _BAD = {schedules.RUNNING: "green", schedules.PAUSED: "yellow"}, "red"
commands = common.commands("List schedules, run one now, pause and resume one.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule, as its section names it.", show_default=False)
]


@commands.command("list")
def list_(
    *, queues: common.Queues = None, as_json: common.Json = False, config: common.Config = None
) -> None:
    """List schedules as the broker has them: the next three times, the last one, what differs from the ini.

    Times are in UTC. Exits with 1 where something differs.
    """
    settings = common.only(load(config), queues)

    async def work() -> tuple[ScheduleState, ...]:
        async with connected(settings, name=_NAME) as session:
            return await schedules.states(session, settings, sorted(settings.scheduled))

    found = run_session(work())
    if as_json:
        common.emit([_row(each) for each in found])
    elif not found:
        common.say("no schedules", "dim")
    else:
        _show(found)
    if not all(each.good for each in found):
        common.say("the broker has not what the ini says: run 'taskqueue declare'", "yellow")
        raise typer.Exit(common.FAILED)


@commands.command()
def run(name: Name, *, as_json: common.Json = False, config: common.Config = None) -> None:
    """Enqueue the task of a schedule now, beside its occurrences, and print its id."""
    settings = _known(config, name)

    async def work() -> str:
        async with connected(settings, name=_NAME) as session:
            return await schedules.run(session, settings, name)

    with acts.noted(settings, events.SENT, settings.schedules[name].queue, tell=common.say) as acted:
        sent = run_session(work())
        acted(sent)
        if as_json:
            common.emit({"id": sent, "schedule": name, "queue": settings.schedules[name].queue})
        else:
            common.line(sent)


@commands.command()
def pause(name: Name, *, config: common.Config = None) -> None:
    """Have a schedule enqueue nothing until it is resumed. What comes due meanwhile is not made up for."""
    settings = _known(config, name)

    async def work() -> None:
        async with connected(settings, name=_NAME) as session:
            await schedules.pause(session, settings, name)

    with acts.noted(settings, events.PAUSED, settings.schedules[name].queue, tell=common.say) as acted:
        run_session(work())
        acted(name)
        common.line(f"{name}: paused")


@commands.command()
def resume(name: Name, *, config: common.Config = None) -> None:
    """Have a paused schedule go on with what comes after now."""
    settings = _known(config, name)

    async def work() -> None:
        async with connected(settings, name=_NAME) as session:
            await schedules.resume(session, settings, name)

    with acts.noted(settings, events.RESUMED, settings.schedules[name].queue, tell=common.say) as acted:
        run_session(work())
        acted(name)
        common.line(f"{name}: resumed")


def _known(config: common.Config, name: str) -> Settings:
    settings = load(config)
    if name not in settings.schedules:
        known = ", ".join(settings.schedules) or "none"
        msg = f"schedule {name!r} is not in the configuration: it has {known}"
        raise ConfigError(msg)
    return settings


def _show(found: tuple[ScheduleState, ...]) -> None:
    table = tables.table("schedule", "queue", "state", "cron", "timezone", "next", "last")
    for each in found:
        style = _GOOD.get(each.state, _BAD)
        table.add_row(
            tables.cell(each.name),
            tables.cell(each.queue),
            tables.cell(each.state, style),
            tables.cell(each.definition.cron),
            tables.cell(each.definition.timezone),
            tables.cell(", ".join(filter(None, map(_moment, each.next))) or None),
            tables.cell(_moment(each.last)),
        )
    tables.show(table)


def _row(state: ScheduleState) -> dict[str, Any]:
    row: dict[str, Any] = dataclasses.asdict(state)
    definition = row.pop("definition")
    # It may hold secrets, as may a URL's query.
    for name in ("payload", "metadata", "url", "roll_back", "max_retries"):
        del definition[name]
    times = {name: _moment(row[name]) for name in ("last", "paused")}
    return {**row, **definition, **times, "next": [_moment(each) for each in state.next]}


def _moment(seconds: int | None) -> str | None:
    return None if seconds is None else moment(seconds)
