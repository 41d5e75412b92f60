"""`taskqueue check`: is everything there that sending and running tasks takes?"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from taskqueue.broker.connect import refuse_version
from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import common, tables
from taskqueue.cli.inspect import held_back
from taskqueue.declare import policies
from taskqueue.declare.permissions import Rights, rights
from taskqueue.declare.verify import Listed, examine
from taskqueue.errors import BrokerRefused, ConfigError, NotKnown, TaskqueueError
from taskqueue.operate import schedules
from taskqueue.operate.inspect import LadderState, QueueState, states
from taskqueue.request.execute import Executor
from taskqueue.schedule.messages import require_tasks
from taskqueue.settings import QueueSettings, Settings, load
from taskqueue.topology import names
from taskqueue.topology.plan import Plan, joined, plan, plan_ladder, plan_queue, plan_schedules

commands = common.commands()
_SHOWN = 3
_DECLARE = "run 'taskqueue declare'"
_HANDLER_OF = {"signing_secret": "signing", "bearer_token": "bearer", "basic_auth": "basic"}


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; `detail` says what was found, `advice` what to do about it."""

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
    """Check the configuration, the broker, the permissions, and that everything is declared; changes nothing.

    Exits with 0 where all is fine, 1 where something is not, 2 for a bad configuration, 3 without a broker.
    """
    checks = tuple(_checks(config, queues))
    if as_json:
        common.emit(_document(checks))
    else:
        tables.show(_table(checks))
    failed = [each.exit_code for each in checks if not each.ok]
    if failed:
        raise typer.Exit(max(failed))


def _checks(config: common.Config, queues: common.Queues) -> Iterator[Check]:
    """Check one thing after the other, and stop where the next one needs what has failed."""
    try:
        settings = common.only(load(config), queues)
        require_tasks(settings, time.time())
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
        management = Management(settings)
        listed = await asyncio.to_thread(management.listed)
        found += await _check_queues(session, settings, management, listed)
        if management.fault is not None:
            advice = "check 'management_url'"
            return [*found, Check("management", ok=False, detail=management.fault, advice=advice)]
        if alarms := await asyncio.to_thread(management.alarms):
            advice = "nothing can be published: make room, see 'rabbitmq-diagnostics alarms'"
            found.append(Check("alarms", ok=False, detail=_some(list(alarms)), advice=advice))
        # A queue whose leader is away does not tell its policy.
        if all(each.ok for each in found if each.check == "leaders"):
            found.append(await _check_policies(settings, management))
        return found


async def _check_queues(
    session: Session, settings: Settings, management: Management, listed: Listed | None
) -> list[Check]:
    found = []
    may: dict[str, Rights] = {}
    for queue in settings.queues.values():
        checked, may[queue.name] = await _check_permissions(session, queue)
        plans = [plan_queue(queue.name, settings.layout)]
        if queue.ladder == queue.name:
            plans.append(plan_ladder(queue.name, settings.layout))
        if queue.name in settings.scheduled:
            plans.append(plan_schedules(queue.name, settings.layout))
        declared = await _check_declared(session, joined(plans), queue.name, may[queue.name], listed)
        found += [checked, declared]
        if queue.name in settings.scheduled and declared.ok and not may[queue.name].consume:
            found.append(await _check_schedules(session, settings, queue.name))
    for ladder, name in {queue.ladder: queue.name for queue in settings.queues.values()}.items():
        if ladder not in settings.queues:
            planned = plan_ladder(ladder, settings.layout)
            found.append(await _check_declared(session, planned, ladder, may[name], listed))
    unread = [lack for each in may.values() for lack in each.look]
    if unread:
        return [*found, Check("leaders", ok=True, detail=f"not looked at: no {_some(unread)}")]
    return [*found, *await _check_counts(session, settings, management)]


async def _check_counts(session: Session, settings: Settings, management: Management) -> list[Check]:
    """Look whether every queue has a leader that answers, and whether something is lost or held."""
    try:
        counts = await asyncio.to_thread(management.counts)
        queues, ladders = await states(session, settings, settings.queues.values(), counts)
    except (BrokerRefused, NotKnown) as error:
        return [_failure("leaders", error)]
    of = {ladder.name: ladder for ladder in ladders}
    held = [
        Check("held", ok=False, detail=told, queue=queue.name, advice=_DECLARE)
        for queue in queues
        for told in held_back(queue, of[queue.ladder])
    ]
    return [_check_leaders(queues, ladders), *held]


def _check_leaders(queues: Iterable[QueueState], ladders: Iterable[LadderState]) -> Check:
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
    """Check that requests can be made: load the handlers and read the files, as `taskqueue run` would."""
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


async def _check_permissions(session: Session, queue: QueueSettings) -> tuple[Check, Rights]:
    """Tell what the user may do; it is fine where it may do what `taskqueue run` does."""
    try:
        may = await rights(session, queue.name, queue.ladder)
    except (BrokerRefused, NotKnown) as error:
        return _failure("permissions", error, queue.name), Rights((), (), (), ())
    if not may.declare:
        return Check("permissions", ok=True, detail=str(may), queue=queue.name), may
    lacks = may.consume or may.declare
    whole = [names.pattern(queue.name)]
    if queue.ladder != queue.name:
        whole.append(names.pattern(queue.ladder, shared=True))
    patterns = f"'{'|'.join(whole)}'"
    advice = f"to allow all: rabbitmqctl set_permissions -p VHOST USER {patterns} {patterns} {patterns}"
    told = f"{may}: no {' and no '.join(lacks)}"
    return Check(
        "permissions", ok=not may.consume, detail=told, queue=queue.name,
        advice=advice if may.consume else None,
    ), may  # fmt: skip


async def _check_declared(
    session: Session, planned: Plan, name: str, may: Rights, listed: Listed | None
) -> Check:
    try:
        findings = await examine(session, planned, listed=listed, compared=not may.declare)
    except (BrokerRefused, NotKnown) as error:
        return _failure("declared", error, name)
    items = planned.items
    missing = [item for item in items if item not in findings.existing]
    if findings.conflicts:
        told = _some([str(conflict) for conflict in findings.conflicts])
        return Check("declared", ok=False, detail=told, queue=name, advice=findings.conflicts[0].advice)
    if missing:
        told = f"missing: {_some([f'{item.kind} {item.name}' for item in missing])}"
        return Check("declared", ok=False, detail=told, queue=name, advice=_DECLARE)
    rest = "; their settings are seen only by who may declare" if may.declare else ""
    return Check("declared", ok=True, detail=f"{len(items)} queues and exchanges{rest}", queue=name)


async def _check_schedules(session: Session, settings: Settings, queue: str) -> Check:
    """Compare the schedules of a queue in the broker, which are those that count, with the ini."""
    try:
        found = await schedules.states(session, settings, [queue])
    except (BrokerRefused, NotKnown) as error:
        return _failure("schedules", error, queue)
    told = [f"{each.name} is {each.state}" for each in found if not each.good]
    if told:
        return Check("schedules", ok=False, detail=_some(told), queue=queue, advice=_DECLARE)
    names_of = ", ".join(f"{each.name} ({each.state})" for each in found)
    return Check("schedules", ok=True, detail=names_of, queue=queue)


async def _check_policies(settings: Settings, management: Management) -> Check:
    """Look for what a policy of the operator breaks, which only the management API knows."""
    if settings.management_url is None:
        advice = "set 'management_url' to have them looked at: one may delete tasks, or hold them up"
        return Check("policies", ok=True, detail="not known: AMQP does not tell them", advice=advice)
    harms = await policies.look(management, plan(settings.layout))
    if harms is None:
        detail = management.fault or "not every queue has told its policy"
        return Check("policies", ok=False, detail=detail, advice="check again in a moment")
    if harms:
        advice = "let no policy with such a key match our names: see rabbitmqctl list_policies"
        return Check("policies", ok=False, detail=_some([str(harm) for harm in harms]), advice=advice)
    return Check("policies", ok=True, detail="none breaks anything")


def _failure(name: str, error: TaskqueueError, queue: str | None = None) -> Check:
    return Check(name, ok=False, detail=str(error), queue=queue, exit_code=error.exit_code)


def _some(things: list[str]) -> str:
    more = f"; and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return f"{'; '.join(things[:_SHOWN])}{more}"


def _table(checks: tuple[Check, ...]) -> Table:
    table = tables.table("check", "queue", "", "found")
    for each in checks:
        found = tables.cell(each.detail)
        if each.advice:
            found.append("\n").append_text(tables.cell(each.advice, "yellow"))
        table.add_row(tables.cell(each.check), tables.cell(each.queue), _state(each), found)
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
