"""The dead queue: lists, replays and purges what is in it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import PublishFailed
from taskqueue.operate import browse
from taskqueue.operate.browse import Progress, text, url_of, whole
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names

Acted = Callable[[str | None], None]
"""Called with the id of each task that something was done to."""
_MOST_EXTRA = 20_000
"""Most messages of a short look into a long dead queue. Beyond it the order may change, without harm."""
_WINDOW = 200
"""Most tasks without a confirm: as many may be there twice when a replay is killed."""
_CONFIRMING = 30.0
_EXPIRED = "its AMQP expiration was over before a consumer had it: by the broker, so no roll_back was called"
_KEPT = frozenset(
    {state.FIRST_SEEN, state.FAILED_ID, state.FAILED_URL, state.FAILURE, astray.MEANT_FOR},
)


@dataclass(frozen=True, slots=True)
class DeadTask:
    """What became of one dead task; None where its message does not say."""

    id: str | None
    reason: str
    url: str | None
    attempts: int
    error: str | None
    at: float | None
    """When it died: seconds since the epoch."""
    first_seen: float | None
    message: Message


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of dead tasks: by id (the oldest of each), by reason, by both, or all."""

    ids: frozenset[str] | None = None
    reason: str | None = None

    def covers(self, task: DeadTask) -> bool:
        """Tell whether a task is chosen."""
        return (self.ids is None or task.id in self.ids) and self.reason in {None, task.reason}


@dataclass(frozen=True, slots=True)
class Handled:
    """How many tasks were replayed or purged, and which chosen ids were not in the queue."""

    count: int
    missing: tuple[str, ...] = ()


def dead_task(message: Message, queue: str) -> DeadTask:
    """Read what a message of the dead queue tells; never raises, whatever it holds."""
    headers = message.headers
    broker = _broker_death(headers, queue)
    died = _seconds(headers, state.DIED)
    unseen = text(headers.get(state.REASON)) is None and broker.get("reason") == "expired"
    return DeadTask(
        id=text(message.properties.get("message_id")),
        reason=text(headers.get(state.REASON)) or text(broker.get("reason")) or "unknown",
        url=url_of(message.body),
        attempts=whole(headers, state.RUNS) or 0,
        error=_EXPIRED if unseen else text(headers.get(state.ERROR)) or message.fault,
        at=_timestamp(broker.get("time")) if died is None else died,
        first_seen=_seconds(headers, state.FIRST_SEEN),
        message=message,
    )


def revived(message: Message, *, now: float) -> Message:
    """Make the message that runs a dead task afresh and at once: same id and body, state reset."""
    headers = {
        name: value
        for name, value in amqp.stripped(message.headers).items()
        if name in _KEPT or not str(name).startswith(amqp.PREFIX)
    }
    headers[state.DUE] = int(now * 1000)
    return Message(message.body, headers, amqp.kept(message.properties))


async def count(session: Session, queue: str) -> int:
    """Count the dead tasks; raises NotDeclared where there is no dead queue, NotKnown."""
    return await browse.count(session, names.dead(queue))


async def entries(
    session: Session, queue: str, *, limit: int, reason: str | None = None
) -> AsyncIterator[DeadTask]:
    """Yield the oldest `limit` dead tasks, of one reason if it is given. They stay in the queue."""
    selection = Selection(reason=reason)
    async with _opened(session, queue, limit if reason is None else None) as looking:
        async for found in looking:
            task = dead_task(found.message, queue)
            if selection.covers(task):
                yield task
                limit -= 1
            if limit <= 0:
                return


async def find(session: Session, queue: str, task_id: str) -> DeadTask | None:
    """Look one dead task up by its id; None where it is not there."""
    async with _opened(session, queue) as looking:
        async for found in looking:
            task = dead_task(found.message, queue)
            if task.id == task_id:
                return task
    return None


async def replay(
    session: Session,
    queue: str,
    selection: Selection,
    *,
    clock: Callable[[], float] = time.time,
    progress: Progress | None = None,
    acted: Acted = lambda _: None,
) -> Handled:
    """Put the chosen tasks back into the work queue, each confirmed before its dead copy is acked.

    Raises PublishFailed at the first one that the broker does not take; that one stays dead.
    """
    async with session.publishing() as channel, _opened(session, queue) as looking:
        replaying = _Replay(channel, looking, queue, clock, acted)
        handled = await _each(looking, queue, selection, progress, replaying.put)
        await replaying.settle(0)
        return handled


async def purge(
    session: Session,
    queue: str,
    selection: Selection,
    *,
    progress: Progress | None = None,
    acted: Acted = lambda _: None,
) -> Handled:
    """Delete the chosen tasks for good: those that were seen, never what has died meanwhile.

    So the queue is never purged as a whole. A leader that hangs would do that when it recovers, whatever is
    in the queue by then.
    """

    async def take(found: Delivery) -> None:
        looking.take(found)
        acted(_id(found))

    async with _opened(session, queue) as looking:
        return await _each(looking, queue, selection, progress, take)


def _opened(
    session: Session, queue: str, limit: int | None = None
) -> AbstractAsyncContextManager[browse.Look]:
    return browse.look(session, names.dead(queue), limit=limit, most_extra=_MOST_EXTRA)


async def _each(
    looking: browse.Look,
    queue: str,
    selection: Selection,
    progress: Progress | None,
    handle: Callable[[Delivery], Awaitable[None]],
) -> Handled:
    left = set(selection.ids or ())
    handled = looked = 0
    async for found in looking:
        looked += 1
        task = dead_task(found.message, queue)
        if selection.covers(task) and (selection.ids is None or task.id in left):
            await handle(found)
            left.discard(task.id or "")
            handled += 1
        if progress is not None:
            progress(looked, looking.count)
        if selection.ids is not None and not left:
            break
    return Handled(handled, tuple(sorted(left)))


class _Replay:
    """Publishes dead tasks again, some at once, and acks each in the dead queue once it is confirmed."""

    def __init__(
        self,
        channel: Channel,
        looking: browse.Look,
        queue: str,
        clock: Callable[[], float],
        acted: Acted,
    ) -> None:
        self._acted = acted
        self._channel = channel
        self._looking = looking
        self._queue = queue
        self._clock = clock
        self._out: deque[tuple[Delivery, asyncio.Future[None]]] = deque()
        # One first: a broker tells of its alarm only who publishes, and what is out then may arrive later.
        self._most = self._done = 0

    async def put(self, found: Delivery) -> None:
        """Publish one, and wait while too many are without a confirm."""
        message = revived(found.message, now=self._clock())
        publish = Publish(names.due(self._queue), (self._queue,), message)
        self._out.append((found, self._channel.publish(publish)))
        await self.settle(self._most)
        self._most = _WINDOW

    async def settle(self, most: int) -> None:
        """Wait until at most so many are without a confirm."""
        while len(self._out) > most:
            found, confirm = self._out[0]
            try:
                async with asyncio.timeout(_CONFIRMING):
                    await confirm
            except Refused as error:
                raise error.told() from error
            except (TimeoutError, PublishFailed) as error:
                why = str(error) or f"no confirm in {_CONFIRMING:g} s"
                raise PublishFailed(
                    f"{self._done} tasks of {self._queue} were replayed, and the next one was not confirmed: "
                    f"it stays dead: {why}"
                ) from error
            self._done += 1
            self._looking.take(found)
            self._acted(_id(found))
            self._out.popleft()


def _id(found: Delivery) -> str | None:
    return text(found.message.properties.get("message_id"))


def _broker_death(headers: Mapping[str, Any], queue: str) -> Mapping[str, Any]:
    """Find the broker's own record of a death in the work queue (most recent first).

    ``x-first-death-reason`` is of no use: for a task that was on a ladder it tells of the ladder.
    """
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else ():
        if isinstance(death, dict) and death.get("queue") == queue:
            return death
    return {}


def _seconds(headers: Mapping[str, Any], name: str) -> float | None:
    milliseconds = whole(headers, name)
    return None if milliseconds is None else milliseconds / 1000


def _timestamp(value: object) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else None
