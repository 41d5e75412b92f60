"""`taskqueue check`: is everything there that sending and running tasks takes?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from taskqueue.broker.connect import refuse_version
from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import common, console
from taskqueue.declare.permissions import lacking, pattern
from taskqueue.declare.verify import examine
from taskqueue.errors import BrokerRefused, ConfigError, NotKnown, TaskqueueError
from taskqueue.operate.inspect import look
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings, Settings, load
from taskqueue.topology import names
from taskqueue.topology.plan import Plan, joined, plan_ladder, plan_queue

commands = common.commands()
_SHOWN = 3
_HANDLER_OF = {"signing_secret": "signing", "bearer_token": "bearer", "basic_auth": "basic"}


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what was found, `advice` what to do about it."""

    check: str
    ok: bool
    detail: str
    queue: str | None = None
    advice: str | None = None
    exit_code: int = common.FAILED


@commands.command()
def check(
    *, queues: common.Queues = None, as_json: common.Json = False, config: common.Config = None
) -> None:
    """Check configuration, broker, permissions and that everything is declared; changes nothing.

    Exits with 0 where all is fine, 1 where something is not, 2 for a bad configuration, 3 without a broker.
    """
    checks = tuple(_checks(config, queues))
    if as_json:
        common.emit(_document(checks))
    else:
        console.out.print(_table(checks))
    failed = [each.exit_code for each in checks if not each.ok]
    if failed:
        raise typer.Exit(max(failed))


def _checks(config: common.Config, queues: common.Queues) -> Iterator[Check]:
    """Check one thing after the other, as far as each rests on those before it."""
    try:
        settings = common.only(load(config), queues)
    except ConfigError as error:
        yield _failure("configuration", error)
        return
    yield Check("configuration", ok=True, detail=f"queues: {', '.join(settings.queues)}")
    for queue in settings.queues.values():
        yield _check_requests(queue)
    try:
        yield from run(_check_broker(settings))
    except TaskqueueError as error:
        yield _failure("broker", error)


async def _check_broker(settings: Settings) -> list[Check]:
    async with connected(settings, name="taskqueue check") as session:
        about = session.properties
        found = [Check("broker", ok=True, detail=f"connected to {about.get('cluster_name', 'a broker')}")]
        try:
            refuse_version(about)
        except BrokerRefused as error:
            return [*found, _failure("version", error)]
        found.append(Check("version", ok=True, detail=f"{about.get('product')} {about.get('version')}"))
        for queue in settings.queues.values():
            found.append(await _check_permissions(session, queue.name))
            plans = [plan_queue(queue.name, settings.layout)]
            if queue.ladder == queue.name:
                plans.append(plan_ladder(queue.name, settings.layout))
            found.append(await _check_declared(session, joined(plans), queue.name))
        shared = dict.fromkeys(queue.ladder for queue in settings.queues.values())
        for ladder in shared:
            if ladder not in settings.queues:
                found.append(await _check_permissions(session, ladder, shared=True))
                found.append(await _check_declared(session, plan_ladder(ladder, settings.layout), ladder))
        found.append(await _check_counts(session, settings))
        if settings.management_url is not None:
            found.append(_check_management(settings))
        return found


async def _check_counts(session: Session, settings: Settings) -> Check:
    """Look whether every queue has a leader that answers, and whether a shared ladder has lost something."""
    try:
        queues, ladders = await look(session, settings, settings.queues.values())
    except (BrokerRefused, NotKnown) as error:
        return _failure("leaders", error)
    silent = [name for queue in queues for name in queue.unknown]
    silent += [name for ladder in ladders for name in ladder.unknown]
    if silent:
        advice = "look for nodes that are down or overloaded, and check again"
        return Check("leaders", ok=False, detail=f"do not answer: {_some(silent)}", advice=advice)
    astray = [f"{ladder.lost} in {names.lost(ladder.name)}" for ladder in ladders if ladder.lost]
    if astray:
        advice = "they name no queue of their ladder: declare it and publish them to it, or delete them"
        return Check("leaders", ok=False, detail=f"messages that are lost: {_some(astray)}", advice=advice)
    return Check("leaders", ok=True, detail="every queue answers")


def _check_requests(queue: QueueSettings) -> Check:
    """Make what makes the requests: handlers are loaded and files are read, as `taskqueue run` would."""
    try:
        Executor(queue).close()
    except ConfigError as error:
        return _failure("requests", error, queue.name)
    handlers = ", ".join(queue.handlers) or "none"
    idle = [
        (key, name) for key, name in _HANDLER_OF.items() if getattr(queue, key) and name not in queue.handlers
    ]
    advice = "; ".join(f"{key} is set and does nothing: add {name} to handlers" for key, name in idle)
    return Check("requests", ok=True, detail=f"handlers: {handlers}", queue=queue.name, advice=advice or None)


async def _check_permissions(session: Session, name: str, *, shared: bool = False) -> Check:
    try:
        missing = await lacking(session, name, shared=shared)
    except (BrokerRefused, NotKnown) as error:
        return _failure("permissions", error, name)
    if not missing:
        return Check("permissions", ok=True, detail="configure, write, read", queue=name)
    needed = pattern(name, shared=shared)
    return Check(
        "permissions",
        ok=False,
        detail=f"no {' and no '.join(missing)} permission on {needed}",
        queue=name,
        advice=f"rabbitmqctl set_permissions -p VHOST USER '{needed}' '{needed}' '{needed}'",
    )


async def _check_declared(session: Session, planned: Plan, name: str) -> Check:
    try:
        findings = await examine(session, planned)
    except (BrokerRefused, NotKnown) as error:
        return _failure("declared", error, name)
    items = planned.items
    missing = [item for item in items if item not in findings.existing]
    if findings.conflicts:
        told = _some([str(conflict) for conflict in findings.conflicts])
        return Check("declared", ok=False, detail=told, queue=name, advice=findings.conflicts[0].advice)
    if missing:
        told = f"missing: {_some([f'{item.kind} {item.name}' for item in missing])}"
        return Check("declared", ok=False, detail=told, queue=name, advice="run 'taskqueue declare'")
    return Check("declared", ok=True, detail=f"{len(items)} queues and exchanges", queue=name)


def _check_management(settings: Settings) -> Check:
    management = Management(settings)
    management.queues()
    if management.fault is None:
        return Check("management", ok=True, detail="the API answers")
    return Check("management", ok=False, detail=management.fault, advice="check 'management_url'")


def _failure(name: str, error: TaskqueueError, queue: str | None = None) -> Check:
    return Check(name, ok=False, detail=str(error), queue=queue, exit_code=error.exit_code)


def _some(things: list[str]) -> str:
    more = f"; and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return f"{'; '.join(things[:_SHOWN])}{more}"


def _table(checks: tuple[Check, ...]) -> Table:
    table = Table("check", "queue", "", "found", box=None, pad_edge=False)
    for each in checks:
        found = Text(each.detail)
        if each.advice:
            found.append(f"\n{each.advice}", "yellow")
        table.add_row(each.check, each.queue, _state(each), found)
    return table


def _state(check: Check) -> Text:
    if not check.ok:
        return Text("failed", "red")
    return Text("warning", "yellow") if check.advice else Text("ok", "green")


def _document(checks: tuple[Check, ...]) -> dict[str, Any]:
    keys = ("check", "queue", "ok", "detail", "advice")
    return {
        "ok": all(each.ok for each in checks),
        "checks": [{key: getattr(each, key) for key in keys} for each in checks],
    }
