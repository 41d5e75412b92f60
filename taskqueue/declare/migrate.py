"""`declare --migrate`: replace a work queue of the other queue type, and keep what is in it.

Nothing else needs a migration. The rungs of either type have names of their own and empty themselves, and
a dead queue always has the same type. At every moment each message is in the old queue, in the parking queue
`Q.moving`, or in the new queue: it is confirmed in one before it is acked in the other. So the command may be
killed anywhere and run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.session import Progress, Session
from taskqueue.declare.apply import apply, bind, create, unbind
from taskqueue.declare.emptiness import delete, require_empty, settled
from taskqueue.declare.verify import Findings
from taskqueue.errors import InvalidTask, NotKnown, PublishFailed, TopologyConflict
from taskqueue.settings import Settings
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.decide import INVALID, Dead
from taskqueue.task.message import DELIVERIES, Message, Publish
from taskqueue.task.settle import successors
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC, KEPT, QUORUM, Binding, Exchange, Queue, hops, plan_queue

_WINDOW = 64
"""Most messages without a confirm: as many may be there twice when the command is killed."""
_QUIET = 0.3
_TAG = "migrate"
_ANSWERING = 30.0
_CONSUMERS = "{} has {} consumers: stop them, migrate, and start them again; nothing was replaced"


@dataclass(frozen=True, slots=True)
class Replaced:
    """A work queue that is to be replaced, or the replacement of which was interrupted."""

    queue: str
    current: str
    """Its type as it is now, ``missing`` where an interrupted migration has deleted it."""
    wanted: str
    interrupted: bool = False


async def examine(session: Session, settings: Settings, findings: Findings) -> tuple[Replaced, ...]:
    """Find the work queues to replace; changes nothing.

    Raises TopologyConflict where something conflicts in another way than by the type of a work queue.
    """
    types = {conflict.item.name: conflict for conflict in findings.conflicts if conflict.of_type}
    others = [
        each for each in findings.conflicts if each.item.name not in settings.queues or not each.of_type
    ]
    if others:
        Findings(findings.plan, findings.existing, tuple(others)).require_none()
    moving = await session.each("looking for migrations", _is_moving, settings.queues)
    found = []
    for queue, parked in zip(settings.queues, moving, strict=True):
        conflict = types.get(queue)
        if conflict or parked:
            current = conflict.type if conflict else None
            found.append(Replaced(queue, current or settings.queue_type, settings.queue_type, parked))
    return tuple(found)


async def migrate(
    session: Session,
    settings: Settings,
    findings: Findings,
    replaced: Iterable[Replaced],
    progress: Progress,
) -> dict[str, int]:
    """Replace what `examine` found, then declare the whole configuration; gives the moved messages by queue.

    Raises TopologyConflict where a queue has consumers, NotKnown where it can't be told whether it is empty,
    BrokerRefused, PublishFailed; run it again after any of them.
    """
    works = tuple(replaced)
    others = [each.queue for each in works if each.current != each.wanted]
    await session.each("looking for consumers", _require_unused, others, progress)
    await _create_all_but(session, {each.queue for each in works}, findings, progress)
    ladders = dict.fromkeys(settings.queues[each.queue].ladder for each in works)
    for ladder in ladders:
        await _switch_rungs(session, settings, ladder, progress)
    moved = {each.queue: await _Move(session, settings, each.queue, progress).run() for each in works}
    await apply(session, settings, findings, progress)
    return moved


async def _is_moving(session: Session, queue: str) -> bool:
    return await session.exists("queue", names.moving(queue))


async def _require_unused(session: Session, queue: str) -> None:
    """Refuse where there are consumers, before anything is changed. The move itself finds later ones."""
    counts = await session.counts(queue)
    if counts is not None and counts.consumers:
        raise TopologyConflict(_CONSUMERS.format(queue, counts.consumers))


async def _create_all_but(session: Session, queues: set[str], findings: Findings, progress: Progress) -> None:
    items = [
        each for each in findings.plan.items if each not in findings.existing and each.name not in queues
    ]
    await session.each("creating", create, items, progress)


async def _switch_rungs(session: Session, settings: Settings, ladder: str, progress: Progress) -> None:
    """Bind each key to the rung of the new type. What comes in between takes the alternate exchange."""
    former = QUORUM if settings.queue_type == CLASSIC else CLASSIC
    old = tuple(hops(ladder, settings.rungs, former))
    await session.each(f"unbinding the {former} rungs of {ladder}", unbind, old, progress)
    new = tuple(hops(ladder, settings.rungs, settings.queue_type))
    await session.each(f"binding the {settings.queue_type} rungs of {ladder}", bind, new, progress)


class _Move:
    """The replacement of one work queue, stage by stage."""

    def __init__(self, session: Session, settings: Settings, queue: str, progress: Progress) -> None:
        self._session = session
        self._queue = queue
        self._parking = names.moving(queue)
        self._progress = progress
        self._plan = plan_queue(queue, settings.layout)
        self._settings = settings
        self._work = next(each for each in self._plan.queues if each.name == queue)
        self._ways = tuple(each for each in self._plan.bindings if each.queue == queue)
        self._moved = 0

    async def run(self) -> int:
        """Do all stages; gives how many messages came back."""
        await self._prepare_parking()
        if await self._is_of_other_type():
            async with self._session.own_channel() as taken:
                # With a consumer of our own, a count of consumers is never a guess.
                await taken.consume(self._queue, window=_WINDOW, tag=_TAG)
                await self._require_alone(taken)
                # First, as the queue would never become empty while tasks come to it.
                await self._lead_aside()
                await settled()
                await self._park(taken)
                await self._require_alone(taken)
                if self._settings.queue_type == CLASSIC:
                    await require_empty(self._session, self._settings, self._queue)
                    await delete(self._session, self._queue)
                else:
                    await self._delete_classic(taken)
        await create(self._session, self._work)
        await self._session.each(f"binding {self._queue}", bind, self._ways, self._progress)
        await self._put_back()
        return self._moved

    async def _delete_classic(self, taken: Channel) -> None:
        """Let the broker check once more: it deletes a classic queue only where it is empty."""
        await taken.ask("basic_cancel", _TAG)
        late = await taken.next(0)
        if late is not None or not await delete(self._session, self._queue, classic=True):
            raise TopologyConflict(
                f"{self._queue} got a message meanwhile: stop what publishes to it, and try again"
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

    async def _require_alone(self, taken: Channel) -> None:
        """Raise TopologyConflict where another consumer is there, which may have taken something out."""
        answer = await taken.ask("queue_declare", self._queue, passive=True)
        if answer.consumer_count == 0:
            raise NotKnown(f"{self._queue}: its leader does not answer: nothing was replaced, try again")
        if answer.consumer_count > 1:
            raise TopologyConflict(_CONSUMERS.format(self._queue, answer.consumer_count - 1))

    async def _lead_aside(self) -> None:
        """Unbind every way into the queue. What comes from now on goes to the parking queue.

        From the levels of its own ladder the alternate exchange leads there; from a shared ladder the key
        does that brings home what finds no way.
        """
        keys = [each for each in self._ways if each.exchange != names.due(self._queue)]
        home = [each for each in keys if each.routing_key == names.astray(self._queue)]
        for each in home:
            await bind(self._session, Binding(each.exchange, self._parking, each.routing_key))
        straight = Binding(names.due(self._queue), self._queue, "")
        for each in (*home, *(key for key in keys if key not in home), straight):
            await unbind(self._session, each)

    async def _park(self, taken: Channel) -> None:
        def parked(delivery: Delivery) -> Publish:
            if delivery.message.fault is not None:
                return self._dead(delivery, f"headers: {delivery.message.fault}")
            return Publish(self._parking, (self._queue,), _copy(delivery))

        await self._drain(taken, parked, f"moving {self._queue} aside")

    async def _put_back(self) -> None:
        due = names.due(self._queue)

        def back(delivery: Delivery) -> Publish:
            return Publish(due, (self._queue,), _copy(delivery))

        for each in self._ways:
            if each.routing_key == names.astray(self._queue):
                await unbind(self._session, Binding(each.exchange, self._parking, each.routing_key))
        async with self._session.own_channel() as taken:
            await taken.consume(self._parking, window=_WINDOW)
            self._moved += await self._drain(taken, back, f"moving {self._queue} back")
            await settled()
            self._moved += await self._drain(taken, back, f"moving {self._queue} back")
            await self._require_sole(taken)
            await require_empty(self._session, self._settings, self._parking)
            await delete(self._session, self._parking)
        async with self._session.channel() as channel:
            await channel.ask("exchange_delete", self._parking)

    def _dead(self, delivery: Delivery, error: str) -> Publish:
        """Turn a message whose headers can't be read or written again into a dead one, like the consumer."""
        bare = Message(delivery.message.body, {}, amqp.kept(delivery.message.properties))
        way = self._settings.way(self._queue)
        return successors(bare, None, Dead(INVALID, error, 0), way=way, now=time.time())[0]

    async def _require_sole(self, taken: Channel) -> None:
        answer = await taken.ask("queue_declare", self._parking, passive=True)
        if answer.consumer_count != 1:
            raise NotKnown(
                f"{self._parking}: somebody else looks into it, or its leader is silent: try again"
            )

    async def _drain(self, taken: Channel, publish: Callable[[Delivery], Publish], step: str) -> int:
        """Move what is handed out. Each is confirmed in the other queue before it is acked in this one.

        Ends when nothing has come for a moment. `require_empty` then proves that nothing is left.
        """
        count = 0
        async with self._session.own_channel() as out:
            await out.confirms()
            while delivery := await taken.next(_QUIET):
                batch = [delivery]
                while len(batch) < _WINDOW and (more := await taken.next(0.01)):
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
        if count:
            self._progress(step, count, count)
        return count


async def _confirmed(confirm: asyncio.Future[None]) -> None:
    try:
        async with asyncio.timeout(_ANSWERING):
            await confirm
    except TimeoutError:
        raise PublishFailed(f"the broker did not confirm in {_ANSWERING:g} s: run it again") from None


def _copy(delivery: Delivery) -> Message:
    """Copy a message, with the count of its hand-outs without an answer, as the broker counts anew elsewhere.

    The broker counts the move itself too, and that one is left out.
    """
    message = delivery.message
    headers = amqp.stripped(message.headers)
    count = message.headers.get(DELIVERIES, 0) if delivery.redelivered else 0
    before = headers.get(state.CRASHES, 0)
    crashes = sum(each for each in (count, before) if isinstance(each, int))
    if crashes:
        headers[state.CRASHES] = crashes
    return Message(message.body, headers, amqp.kept(message.properties))
