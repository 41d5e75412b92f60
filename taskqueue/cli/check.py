"""`taskqueue check`: is everything there that sending and running tasks takes?"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator

import typer

from taskqueue.broker.absence import Listed, absent
from taskqueue.broker.connect import refuse_version
from taskqueue.broker.management import Management
from taskqueue.broker.session import CHANNELS, Session, connected, run
from taskqueue.cli import common, tables
from taskqueue.cli.check_broker import check_advanced, check_faults, check_held
from taskqueue.cli.check_declared import DECLARE, Part, check_declared
from taskqueue.cli.check_history import check_history
from taskqueue.cli.checks import Check, document, failure, named, some, table, unknown
from taskqueue.declare import policies
from taskqueue.declare.permissions import ALL, Rights, granted, rights
from taskqueue.errors import BrokerRefused, ConfigError, NotKnown, TaskqueueError
from taskqueue.operate import schedules
from taskqueue.operate.inspect import LadderState, QueueState, states
from taskqueue.operate.picture import held_back
from taskqueue.request.execute import Executor
from taskqueue.schedule.messages import require_tasks
from taskqueue.settings import QueueSettings, Settings, load
from taskqueue.topology import names
from taskqueue.topology.plan import (
    QUORUM,
    Exchange,
    Queue,
    joined,
    plan,
    plan_ladder,
    plan_limits,
    plan_queue,
    plan_schedules,
)

commands = common.commands()
_HANDLER_OF = {"signing_secret": "signing", "bearer_token": "bearer", "basic_auth": "basic"}


@commands.command()
def check(
    *, queues: common.Queues = None, as_json: common.Json = False, config: common.Config = None
) -> None:
    """Check the configuration, the broker, the permissions, and that everything is declared; changes nothing.

    Exits with 0 where all is fine, 1 where something is not, 2 for a bad configuration, 3 without a broker.
    """
    checks = tuple(_checks(config, queues))
    if as_json:
        common.emit(document(checks))
    else:
        tables.show(table(checks))
    failed = [each.exit_code for each in checks if not each.ok]
    if failed:
        raise typer.Exit(max(failed))


def _checks(config: common.Config, queues: common.Queues) -> Iterator[Check]:
    """Check one thing after the other, and stop where the next one needs what has failed."""
    try:
        settings = common.only(load(config), queues)
        require_tasks(settings, time.time())
    except ConfigError as error:
        yield failure("configuration", error)
        return
    yield Check("configuration", ok=True, detail=f"queues: {named(tuple(settings.queues))}")
    yield from _check_requests(settings.queues.values())
    try:
        yield from run(_check_broker(settings))
    except TaskqueueError as error:
        yield failure("broker", error)


async def _check_broker(settings: Settings) -> list[Check]:
    async with connected(settings, name="taskqueue check") as session:
        about = session.properties
        found = [Check("broker", ok=True, detail=f"connected to {about.get('cluster_name', 'a broker')}")]
        try:
            refuse_version(about)
        except BrokerRefused as error:
            return [*found, failure("version", error)]
        found.append(Check("version", ok=True, detail=f"{about.get('product')} {about.get('version')}"))
        if settings.queue_type == QUORUM:
            found.append(check_faults(about))
        management = Management(settings)
        listed = await asyncio.to_thread(management.listed)
        found += await _check_queues(session, settings, management, listed)
        if settings.layout.history is not None:
            found.append(await check_history(session, settings.layout.history))
        if management.fault is not None:
            advice = "check 'management_url'"
            return [*found, Check("management", ok=False, detail=management.fault, advice=advice)]
        found.append(_check_alarms(settings, await asyncio.to_thread(management.alarms)))
        if settings.queue_type == QUORUM:
            found.append(await asyncio.to_thread(check_advanced, management))
        # A queue whose leader is away does not tell its policy.
        if all(each.ok for each in found if each.check == "leaders"):
            found.append(await _check_policies(settings, management))
        return found


async def _check_queues(
    session: Session, settings: Settings, management: Management, listed: Listed | None
) -> list[Check]:
    queues, layout = tuple(settings.queues.values()), settings.layout
    gone = await absent(session, plan(layout), listed)
    may_all = await granted(session, ((queue.name, queue.ladder) for queue in queues))
    # Many queues, or much of one: never both at once, so that no more channels are open than there may be.
    within = max(1, CHANNELS // len(queues))
    may: dict[str, Rights] = {}

    async def look(session: Session, queue: QueueSettings) -> list[Check]:
        checked, may[queue.name] = await _check_permissions(
            session, queue, allowed=queue.name in may_all, probes=settings.probe
        )
        plans = [plan_queue(queue.name, layout)]
        if queue.ladder == queue.name:
            plans.append(plan_ladder(queue.name, layout))
        if queue.name in settings.scheduled:
            plans.append(plan_schedules(queue.name, layout))
        plans.append(plan_limits(queue.name, layout))
        part = Part(queue.name, joined(plans), within)
        declared = await check_declared(session, part, may[queue.name], gone)
        checks = [checked, declared]
        if queue.name in settings.scheduled and declared.ok and not may[queue.name].consume:
            checks.append(await _check_schedules(session, settings, queue.name))
        return checks

    found = [each for checks in await session.each("", look, queues) for each in checks]
    for ladder, name in {queue.ladder: queue.name for queue in queues}.items():
        if ladder not in settings.queues:
            part = Part(ladder, plan_ladder(ladder, layout), CHANNELS)
            found.append(await check_declared(session, part, may[name], gone))
    unread = [lack for each in may.values() for lack in each.look]
    if unread:
        return [*found, unknown("leaders", f"not looked at: no {some(unread)}")]
    return [*found, *await _check_counts(session, settings, management, gone)]


async def _check_counts(
    session: Session, settings: Settings, management: Management, gone: frozenset[Exchange | Queue]
) -> list[Check]:
    """Look whether every queue has a leader that answers, and whether something is lost or held."""
    try:
        counts = await asyncio.to_thread(management.counts)
        queues, ladders = await states(session, settings, settings.queues.values(), counts, gone)
    except (BrokerRefused, NotKnown) as error:
        return [failure("leaders", error)]
    of = {ladder.name: ladder for ladder in ladders}
    held = [
        Check("held", ok=False, detail=told, queue=queue.name, advice=DECLARE)
        for queue in queues
        for told in held_back(queue, of[queue.ladder])
    ]
    return [_check_leaders(queues, ladders), *held, *check_held(queues, ladders)]


def _check_leaders(queues: Iterable[QueueState], ladders: Iterable[LadderState]) -> Check:
    silent = [name for queue in queues for name in queue.unknown]
    silent += [name for ladder in ladders for name in ladder.unknown]
    if silent:
        advice = "look for nodes that are down or overloaded, and check again"
        return Check("leaders", ok=False, detail=f"do not answer: {some(silent)}", advice=advice)
    astray = [f"{ladder.lost} in {names.lost(ladder.name)}" for ladder in ladders if ladder.lost]
    if astray:
        advice = "they name no queue of their ladder: declare it and publish them to it, or delete them"
        return Check("leaders", ok=False, detail=f"messages that are lost: {some(astray)}", advice=advice)
    return Check("leaders", ok=True, detail="every queue answers")


def _check_requests(queues: Iterable[QueueSettings]) -> Iterator[Check]:
    """Check that requests can be made: load the handlers and read the files, as `taskqueue run` would."""
    can: set[QueueSettings] = set()
    for queue in queues:
        # What is the same for a thousand queues is tried once.
        nameless = dataclasses.replace(queue, name="", ladder="-")
        try:
            if nameless not in can:
                Executor(queue).close()
        except ConfigError as error:
            yield failure("requests", error, queue.name)
            continue
        can.add(nameless)
        yield _requests(queue)


def _requests(queue: QueueSettings) -> Check:
    handlers = ", ".join(queue.handlers) or "none"
    idle = [
        (key, name) for key, name in _HANDLER_OF.items() if getattr(queue, key) and name not in queue.handlers
    ]
    advice = "; ".join(f"{key} is set and does nothing: add {name} to handlers" for key, name in idle)
    return Check("requests", ok=True, detail=f"handlers: {handlers}", queue=queue.name, advice=advice or None)


async def _check_permissions(
    session: Session, queue: QueueSettings, *, allowed: bool, probes: bool
) -> tuple[Check, Rights]:
    """Tell what the user may do; it is fine where it may do what `taskqueue run` does."""
    try:
        limits = names.limits(queue.name, paced=bool(queue.rate), capped=bool(queue.max_concurrency))
        # That it may do all was asked of other names.
        may = ALL if allowed and not limits else await rights(session, queue.name, queue.ladder, reads=limits)
    except (BrokerRefused, NotKnown) as error:
        return failure("permissions", error, queue.name), ALL
    if not may.declare:
        return Check("permissions", ok=True, detail=str(may), queue=queue.name), may
    told = f"{may}: no {' and no '.join(may.consume or may.declare)}"
    if not may.consume:
        left = f"its consumers leave the probe to others: no {may.probe}" if probes and may.probe else None
        return Check("permissions", ok=True, detail=told, queue=queue.name, advice=left), may
    whole = [names.pattern(queue.name)]
    if queue.ladder != queue.name:
        whole.append(names.pattern(queue.ladder, shared=True))
    patterns = f"'{'|'.join(whole)}'"
    allow = f"to allow all: rabbitmqctl set_permissions -p VHOST USER {patterns} {patterns} {patterns}"
    return Check("permissions", ok=False, detail=told, queue=queue.name, advice=allow), may


def _check_alarms(settings: Settings, alarms: tuple[str, ...] | None) -> Check:
    if alarms:
        advice = "nothing can be published: make room, see 'rabbitmq-diagnostics alarms'"
        return Check("alarms", ok=False, detail=some(alarms), advice=advice)
    if alarms is None:
        why = (
            "over AMQP a broker tells only who publishes"
            if settings.management_url is None
            else "the management API does not say"
        )
        return unknown("alarms", why)
    return Check("alarms", ok=True, detail="none")


async def _check_schedules(session: Session, settings: Settings, queue: str) -> Check:
    """Compare the schedules of a queue in the broker, which are those that count, with the ini."""
    try:
        found = await schedules.states(session, settings, [queue])
    except (BrokerRefused, NotKnown) as error:
        return failure("schedules", error, queue)
    told = [f"{each.name} is {each.state}" for each in found if not each.good]
    if told:
        return Check("schedules", ok=False, detail=some(told), queue=queue, advice=DECLARE)
    names_of = ", ".join(f"{each.name} ({each.state})" for each in found)
    return Check("schedules", ok=True, detail=names_of, queue=queue)


async def _check_policies(settings: Settings, management: Management) -> Check:
    """Look for what a policy of the operator breaks, which only the management API knows."""
    if settings.management_url is None:
        advice = "set 'management_url' to have them looked at: one may delete tasks, or hold them up"
        return unknown("policies", "AMQP does not tell them", advice)
    # Of a stream a policy changes what it keeps, and nothing else.
    harms = await policies.look(management, plan(dataclasses.replace(settings.layout, history=None)))
    if harms is None:
        detail = management.fault or "not every queue has told its policy"
        return Check("policies", ok=False, detail=detail, advice="check again in a moment")
    if harms:
        advice = "let no policy with such a key match our names: see rabbitmqctl list_policies"
        return Check("policies", ok=False, detail=some([str(harm) for harm in harms]), advice=advice)
    return Check("policies", ok=True, detail="none breaks anything")
