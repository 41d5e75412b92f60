"""A work queue replaced by one of the other type, with what is in it.

At every moment each message is in the old queue, in the parking queue `Q.moving`, or in the new one: it is
confirmed in one before it is acked in the other. So the command may be killed anywhere and run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Progress, Session
from taskqueue.broker.wire import fitting
from taskqueue.declare.apply import bind, create, unbind
from taskqueue.declare.emptiness import came, delete, let_go, require_empty, settled
from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    InvalidTask,
    NotKnown,
    PublishFailed,
    TopologyConflict,
)
from taskqueue.settings import Settings
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.decide import INVALID, Dead
from taskqueue.task.message import Message, Publish
from taskqueue.task.settle import successors
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC, KEPT, Binding, Exchange, Queue, plan_queue

_WINDOW = 64
"""Messages without a confirm at once: what is there twice when the command is killed."""
_STRAY = 1000
"""Messages that may come while a queue is emptied, before somebody is taken to fill it all the time."""
_ROOM = 1024
"""Bytes for the one header that is kept of a message whose headers are not: longer than any queue's name."""
_QUIET = 0.3
_TAG = "migrate"
_ANSWERING = 30.0
_CONSUMERS = "{} has {} consumers: stop them, migrate, and start them again"
_FILLED = "{} gets messages faster than it is emptied: stop what publishes to it"
_ENDS = (Refused, BrokerRefused, BrokerUnreachable, NotKnown, PublishFailed, TopologyConflict)


class Replacement:
    """The replacement of one work queue, stage by stage."""

    def __init__(
        self, session: Session, settings: Settings, queue: str, progress: Progress, *, aside: bool
    ) -> None:
        """Take the queue; `aside`: an interrupted one has left tasks in its parking queue."""
        self._session = session
        self._queue = queue
        self._aside = aside
        self._parking = names.moving(queue)
        self._progress = progress
        self._plan = plan_queue(queue, settings.layout)
        self._settings = settings
        self._work = next(each for each in self._plan.queues if each.name == queue)
        self._ways = tuple(each for each in self._plan.bindings if each.queue == queue)
        self._moved = 0

    async def require_unused(self) -> None:
        """Raise TopologyConflict where the queue has consumers; changes nothing.

        Those of a rate are counted on a queue of their own: between two tokens they may take nothing.
        """
        with self._telling():
            for place in (self._queue, names.members(self._queue)):
                counts = await self._session.counts(place)
                if counts is not None and counts.consumers:
                    raise TopologyConflict(_CONSUMERS.format(self._queue, counts.consumers))

    async def run(self) -> int:
        """Do all stages; gives how many messages came back."""
        with self._telling():
            return await self._stages()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Add to an error where the tasks are, and what to do."""
        try:
            yield
        except _ENDS as error:
            left = f"{self._queue} was not replaced"
            if self._aside:
                left = (
                    f"tasks of {self._queue} stand in {self._parking} and do not run until "
                    "'taskqueue declare --migrate' is run again to its end"
                )
            failure = error.told() if isinstance(error, Refused) else error
            raise type(failure)(f"{failure}; {left}") from error

    async def _stages(self) -> int:
        await self._prepare_parking()
        if await self._is_of_other_type():
            async with self._session.own_channel() as taken:
                # A consumer of our own: with it a count of consumers is never a guess.
                await taken.consume(self._queue, window=_WINDOW, tag=_TAG)
                await self._require_alone(taken)
                self._aside = True
                # First, as the queue would never be drained while tasks come to it.
                await self._lead_aside()
                await settled()
                await self._park(taken, await self._require_alone(taken))
                await self._require_alone(taken)
                await self._delete(taken, self._queue, classic=self._settings.queue_type != CLASSIC)
        await create(self._session, self._work)
        await self._session.each(f"binding {self._queue}", bind, self._ways, self._progress)
        await self._put_back()
        return self._moved

    async def _delete(self, taken: Channel, queue: str, *, classic: bool) -> None:
        """Delete a queue that was emptied, after a last look of the broker itself.

        A `classic` one it deletes only where it is empty.
        """
        if not classic:
            await require_empty(self._session, self._settings, queue)
        await let_go(taken, (_TAG,))
        late = await taken.next(0)
        if (
            late is not None
            or (not classic and await came(self._session, queue))
            or not await delete(self._session, queue, classic=classic)
        ):
            raise TopologyConflict(
                f"{queue} got a message meanwhile: stop what publishes to it, and try again"
            )

    async def _is_of_other_type(self) -> bool:
        if not await self._session.exists("queue", self._queue):
            return False
        try:
            await create(self._session, self._work)
        except TopologyConflict:
            return True
        return False

    async def _prepare_parking(self) -> None:
        await create(self._session, Exchange(self._parking, "fanout"))
        await create(self._session, Queue(self._parking, KEPT))
        await bind(self._session, Binding(self._parking, self._parking, ""))

    async def _require_alone(self, taken: Channel) -> int:
        """Raise TopologyConflict where somebody else consumes, and may have taken something out.

        Gives how many messages are ready. It is no guess, as our own consumer is counted.
        """
        answer = await taken.ask("queue_declare", self._queue, passive=True)
        if answer.consumer_count == 0:
            raise NotKnown(f"{self._queue}: its leader does not answer: try again")
        if answer.consumer_count > 1:
            raise TopologyConflict(_CONSUMERS.format(self._queue, answer.consumer_count - 1))
        return int(answer.message_count)

    async def _lead_aside(self) -> None:
        """End every way into the queue; what comes now is led to the parking queue.

        From the levels of its own ladder by the alternate exchange, and from that of a shared ladder by the
        key that brings home what finds no way.
        """
        keys = [each for each in self._ways if each.exchange != names.due(self._queue)]
        home = [each for each in keys if each.routing_key == names.astray(self._queue)]
        for each in home:
            await bind(self._session, Binding(each.exchange, self._parking, each.routing_key))
        straight = Binding(names.due(self._queue), self._queue, "")
        for each in (*home, *(key for key in keys if key not in home), straight):
            await unbind(self._session, each)

    async def _park(self, taken: Channel, ready: int) -> None:
        """Move what is in the queue aside: `ready` messages, and those that we hold already."""

        def parked(delivery: Delivery) -> Publish:
            if delivery.message.fault is not None:
                return self._dead(delivery, f"headers: {delivery.message.fault}")
            return Publish(self._parking, (self._queue,), _copy(delivery, self._queue))

        # What comes now comes from who publishes straight to the queue, and nothing can lead that aside.
        await self._drain(taken, parked, f"moving {self._queue} aside", most=ready + _STRAY)

    async def _put_back(self) -> None:
        due = names.due(self._queue)

        def back(delivery: Delivery) -> Publish:
            return Publish(due, (self._queue,), _copy(delivery, self._queue))

        for each in self._ways:
            if each.routing_key == names.astray(self._queue):
                await unbind(self._session, Binding(each.exchange, self._parking, each.routing_key))
        async with self._session.own_channel() as taken:
            await taken.consume(self._parking, window=_WINDOW, tag=_TAG)
            self._moved += await self._drain(taken, back, f"moving {self._queue} back")
            await settled()
            self._moved += await self._drain(taken, back, f"moving {self._queue} back")
            await self._require_sole(taken)
            await self._delete(taken, self._parking, classic=False)
        async with self._session.channel() as channel:
            await channel.ask("exchange_delete", self._parking)

    def _dead(self, delivery: Delivery, error: str) -> Publish:
        """Make a message whose headers can't be read or written again a dead one, as the consumer does."""
        headers = fitting(astray.elsewhere(delivery.message.headers, self._queue), _ROOM)
        bare = Message(delivery.message.body, headers, amqp.kept(delivery.message.properties))
        way = self._settings.way(self._queue)
        return successors(bare, None, Dead(INVALID, error, 0), way=way, now=time.time())[0]

    async def _require_sole(self, taken: Channel) -> None:
        answer = await taken.ask("queue_declare", self._parking, passive=True)
        if answer.consumer_count != 1:
            raise NotKnown(
                f"{self._parking}: somebody else looks into it, or its leader is silent: try again"
            )

    async def _drain(
        self, taken: Channel, publish: Callable[[Delivery], Publish], step: str, *, most: int | None = None
    ) -> int:
        """Move what is handed out, each confirmed in the other queue before it is acked in this one.

        Ends when nothing has come for a moment; whether nothing is left is for `require_empty` to say.
        Raises TopologyConflict where more than `most` came.
        """
        count = 0
        # One first: a broker tells of its alarm only who publishes, and what is out then may be there twice.
        size = 1
        async with self._session.publishing() as out:
            while delivery := await taken.next(_QUIET):
                batch = [delivery]
                while len(batch) < size and (more := await taken.next(0.01)):
                    batch.append(more)
                confirms = [(each, out.publish(publish(each))) for each in batch]
                for each, confirm in confirms:
                    try:
                        await _confirmed(confirm)
                    except InvalidTask as error:
                        await _confirmed(out.publish(self._dead(each, str(error))))
                    taken.ack(each)
                    count += 1
                self._progress(step, count, count + 1)
                size = _WINDOW
                if most is not None and count > most:
                    raise TopologyConflict(_FILLED.format(self._queue))
        if count:
            self._progress(step, count, count)
        return count


async def _confirmed(confirm: asyncio.Future[None]) -> None:
    try:
        async with asyncio.timeout(_ANSWERING):
            await confirm
    except TimeoutError:
        raise PublishFailed(f"the broker did not confirm in {_ANSWERING:g} s: run it again") from None


def _copy(delivery: Delivery, queue: str) -> Message:
    """Copy a message with how often it was handed out without an answer: the broker counts anew elsewhere.

    The move itself counts once, and that is left out.
    """
    message = delivery.message
    headers = astray.copied(message.headers, queue)
    before = headers.get(state.CRASHES, 0)
    crashes = delivery.earlier_deliveries + (before if isinstance(before, int) else 0)
    if crashes:
        headers[state.CRASHES] = crashes
    return Message(message.body, headers, amqp.kept(message.properties))
