"""Make the broker have what the configuration says: verify first, so that a conflict changes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from taskqueue.broker import connect as broker
from taskqueue.broker.absence import absent
from taskqueue.broker.management import Management
from taskqueue.broker.replies import PRECONDITION_FAILED, Refused
from taskqueue.broker.session import Progress, Session, connected, run
from taskqueue.declare import limits, schedules
from taskqueue.declare.beginning import begin
from taskqueue.declare.presence import stands
from taskqueue.declare.verify import Findings, examine
from taskqueue.errors import BrokerRefused, TopologyConflict
from taskqueue.schedule.messages import require_tasks
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.plan import Binding, Exchange, Queue, plan

NAME = "taskqueue declare"
# In rabbit_amqqueue:declare/7, 3.10 to 4.3.
_NO_STREAMS = re.compile("rabbit_stream_queue.*corresponding feature flag is disabled", re.DOTALL)


def declare(settings: Settings, *, progress: Progress | None = None) -> Findings:
    """Verify what exists of every queue, then create what is missing; gives what existed before.

    A second call changes nothing. Raises TopologyConflict, before anything is changed, where something exists
    with other settings; BrokerRefused where a permission is missing or the broker is too old; NotKnown where
    the broker does not answer; BrokerUnreachable.
    """

    async def work() -> Findings:
        async with connected(settings, name=NAME) as session:
            findings = await verify(session, settings, progress)
            findings.require_none()
            # Nothing is changed where somebody holds a book and stands still.
            await limits.settle(session, settings, findings, dry_run=True)
            await schedules.settle(session, settings, findings, dry_run=True)
            await apply(session, settings, findings, progress)
            await limits.settle(session, settings, findings)
            await schedules.settle(session, settings, findings, progress)
            return findings

    return run(work())


async def verify(session: Session, settings: Settings, progress: Progress | None = None) -> Findings:
    """Compare what the broker has with the configuration; creates and changes nothing.

    Raises BrokerRefused and NotKnown as `declare` does, ConfigError where a schedule can't be a task.
    """
    require_tasks(settings, time.time())
    broker.refuse_version(session.properties)
    listed = await asyncio.to_thread(Management(settings).listed)
    planned = plan(settings.layout)
    return await examine(session, planned, progress, gone=await absent(session, planned, listed))


async def apply(
    session: Session, settings: Settings, findings: Findings, progress: Progress | None = None
) -> None:
    """Create what is missing: exchanges, then queues, then bindings, so that no way ever leads nowhere.

    AMQP can't look at bindings, and a second bind is harmless, so everything is bound again. Raises
    BrokerRefused, or TopologyConflict where a migration was interrupted or someone else declares meanwhile.
    """
    await session.each("looking for migrations", _require_none_moving, settings.queues, progress)
    signs = signs_of_books(settings)
    missing = [item for item in findings.plan.exchanges if item not in findings.existing]
    absent = [item for item in findings.plan.queues if item not in findings.existing]
    await session.each("creating exchanges", create, missing, progress)
    first = [item for item in absent if item.name not in signs]
    await session.each("creating queues", create, first, progress)
    # Once more: a migration that began meanwhile has led everything aside, and deletes the queue.
    await session.each("looking for migrations again", _require_none_moving, settings.queues, progress)
    ways = findings.plan.bindings
    await session.each("binding", bind, [way for way in ways if way.queue not in signs], progress)
    last = [item for item in absent if item.name in signs]

    async def begun(session: Session, sign: Queue) -> None:
        await signs[sign.name](session, create=lambda: create(session, sign))

    await session.each("beginning books", begun, last, progress)
    await session.each("", bind, [way for way in ways if way.queue in signs])


def signs_of_books(settings: Settings) -> Mapping[str, Callable[..., Awaitable[None]]]:
    """Name the queues that are there only where there is a book, each with what begins that."""
    return {names.wake(queue): partial(begin, queue=queue) for queue in settings.scheduled} | {
        names.permits(queue): partial(limits.begin, queue=queue) for queue in settings.layout.capped
    }


async def create(session: Session, item: Exchange | Queue) -> None:
    """Create an exchange or a queue; raises TopologyConflict where it exists with other settings."""
    try:
        async with session.channel() as channel:
            if isinstance(item, Exchange):
                await channel.ask(
                    "exchange_declare", item.name, item.type, durable=True, arguments=item.arguments
                )
            else:
                await channel.ask("queue_declare", item.name, durable=True, arguments=dict(item.arguments))
    except Refused as error:
        # It ends the connection, so whoever asks for something else at that moment gets it too.
        if _NO_STREAMS.search(error.reason):
            raise BrokerRefused(
                "the broker can't keep a history, as its streams are switched off: enable them "
                "(rabbitmqctl enable_feature_flag stream_queue), or leave 'history' out of the ini"
            ) from error
        # It is also how a broker says that a virtual host has as many queues as it may have.
        if error.code != PRECONDITION_FAILED or "inequivalent" not in error.reason:
            raise error.told() from error
        msg = f"{item.name!r} was declared by someone else just now ({error.reason}): declare again"
        raise TopologyConflict(msg) from error


async def bind(session: Session, binding: Binding) -> None:
    """Bind a queue; a second bind changes nothing."""
    await _bound("queue_bind", session, binding)


async def unbind(session: Session, binding: Binding) -> None:
    """Unbind a queue; a second unbind changes nothing."""
    await _bound("queue_unbind", session, binding)


async def _bound(method: str, session: Session, binding: Binding) -> None:
    try:
        async with session.channel() as channel:
            await channel.ask(method, binding.queue, binding.exchange, binding.routing_key)
    except Refused as error:
        if method == "queue_unbind" and error.absent:
            return
        raise error.told() from error


async def _require_none_moving(session: Session, queue: str) -> None:
    """Raise TopologyConflict where a migration was interrupted."""
    if await stands(session, names.moving(queue)):
        msg = f"{queue}: a migration was interrupted: run 'taskqueue declare --migrate' to finish it"
        raise TopologyConflict(msg)
