"""What is ready in the work queue of a paused queue: list it, and cancel it.

Only while it is paused: what a look holds no consumer gets. And the broker counts a look at a task as a
delivery, which would blame the task for it: so what a look would make suspect is put back as a copy at the
end of the queue, as consumers do with what they did not begin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from taskqueue.broker.asking import Delivery
from taskqueue.broker.session import Session
from taskqueue.errors import TaskqueueError
from taskqueue.operate import browse
from taskqueue.operate.acting import Acted, Choice, Note, Transfer, nobody
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.operate.pause import paused
from taskqueue.operate.reading import Facts
from taskqueue.operate.waiting import Act
from taskqueue.settings import QueueSettings
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.decide import suspect
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names

_MOST_SPARED = 64 * 2**20
"""Bytes of tasks that one look keeps in memory to put them back."""
Taken = tuple[Publish | None, Callable[[], None]]
"""What is to be published before a task is taken out, and what is called once it is out."""


class NotPaused(TaskqueueError):
    """The queue runs, so nobody may look at what is ready in it."""


async def require_paused(session: Session, queue: str) -> None:
    """Raise NotPaused where a queue runs, NotKnown where that can't be told."""
    if await paused(session, queue) is None:
        raise NotPaused(f"{queue} runs, and its tasks with it: run `taskqueue pause {queue}` first")


async def first(
    session: Session, queue: QueueSettings, chosen: Filter, *, limit: int, progress: Progress | None = None
) -> tuple[list[Facts], Acted]:
    """Count the tasks that a filter covers, and give the first `limit` of them. They stay in the queue."""
    choice = Choice(chosen)
    found: list[Facts] = []

    def visit(facts: Facts) -> None:
        if choice.takes(facts) and len(found) < limit:
            found.append(facts)

    await look(session, queue, visit, progress=progress)
    return found, choice.acted()


async def act(
    session: Session,
    queue: QueueSettings,
    chosen: Filter,
    what: Act,
    *,
    progress: Progress | None = None,
    note: Note = nobody,
) -> Acted:
    """Do something with each task that a filter covers: publish it as `what` says, then take it out.

    Raises PublishFailed where the broker does not take one: that one stays, as do those behind it.
    """
    choice = Choice(chosen, note)

    def visit(facts: Facts) -> Taken | None:
        return (what(facts, time.time()), partial(choice.did, facts)) if choice.takes(facts) else None

    await look(session, queue, visit, progress=progress)
    return choice.acted()


async def look(
    session: Session,
    queue: QueueSettings,
    visit: Callable[[Facts], Taken | None],
    *,
    progress: Progress | None = None,
    most_extra: float = math.inf,
) -> None:
    """Call `visit` with each task that is ready, and take out those of which it says so; the others stay."""
    spared: list[tuple[Delivery, Publish]] = []
    size = looked = 0
    async with AsyncExitStack() as stack, browse.look(session, queue.name, most_extra=most_extra) as looking:
        transfer = _Transfer(session, stack, queue.name)
        async for found in looking:
            looked += 1
            taking = visit(Facts(found.message))
            if taking is not None:
                await transfer.put(taking[0], partial(_taken, looking, found, taking[1]))
            elif size < _MOST_SPARED and (copy := _copy(queue, found)) is not None:
                size += len(found.message.body)
                spared.append((found, copy))
            if progress is not None:
                progress(looked, looking.count)
        if spared:
            # Or this look would get the copies too, and they would be counted like the tasks.
            await looking.stop()
        for found, copy in spared:
            await transfer.put(copy, partial(looking.take, found))
        await transfer.settle()
        for found in await looking.beside() if spared else ():
            if (copy := _copy(queue, found)) is not None:
                await transfer.put(copy, partial(looking.take, found))
        await transfer.settle()


class _Transfer:
    """A transfer that connects when there is something to publish."""

    def __init__(self, session: Session, stack: AsyncExitStack, queue: str) -> None:
        self._session = session
        self._stack = stack
        self._queue = queue
        self._transfer: Transfer | None = None

    async def put(self, publish: Publish | None, take: Callable[[], None]) -> None:
        """Publish one, and `take` it once that is confirmed; at once where there is nothing to publish."""
        if publish is None:
            take()
            return
        if self._transfer is None:
            channel = await self._stack.enter_async_context(self._session.publishing())
            self._transfer = Transfer(channel, self._queue, done="taken out", stays="stays ready")
        await self._transfer.put(publish, take)

    async def settle(self) -> None:
        """Wait for every confirm."""
        if self._transfer is not None:
            await self._transfer.settle()


def _taken(looking: browse.Look, found: Delivery, then: Callable[[], None]) -> None:
    looking.take(found)
    then()


def _copy(queue: QueueSettings, found: Delivery) -> Publish | None:
    """Give the copy of a task that this look would make suspect: it keeps what was counted before."""
    headers = found.message.headers
    before = headers.get(state.CRASHES, 0)
    counted = found.earlier_deliveries + (before if isinstance(before, int) else 0)
    if found.message.fault is not None or not suspect(queue, counted + 1):
        return None
    copied = astray.copied(headers, queue.name)
    if counted:
        copied[state.CRASHES] = counted
    copy = Message(found.message.body, copied, amqp.kept(found.message.properties))
    return Publish(names.due(queue.name), (queue.name,), copy)
