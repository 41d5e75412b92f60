"""Remove what was declared for a former configuration: only what is proven to be empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from taskqueue.broker.asking import Channel
from taskqueue.broker.session import CHANNELS, Progress, Session
from taskqueue.declare.apply import bind, unbind
from taskqueue.declare.beginning import end
from taskqueue.declare.emptiness import came, delete, let_go, reported, settled
from taskqueue.declare.leftovers import Leftover, in_use
from taskqueue.declare.limits import foreign
from taskqueue.errors import NotKnown
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.plan import Binding


async def prune(
    session: Session, settings: Settings, found: Iterable[Leftover], progress: Progress | None = None
) -> tuple[Leftover, ...]:
    """Remove what can go; gives each with `busy` set where it has turned out to be in use.

    First every way to the queues is unbound. Then a consumer of ours is put on each queue. A report of the
    management API must know of it. That report was made after nothing led there any more. It counts what is
    ready, unacked and being dead-lettered in one look of the leader. Where that is nothing the queue is
    deleted, if its leader says right before that nothing came since. Else it is bound again.

    Classic queues keep the ways that lead on from their rungs, as they drop what expires and finds none. They
    are deleted from the longest rung down to the work queue, each by the broker and only where it is empty.
    So what expires meanwhile has come to one that is not deleted yet, which keeps what is left.
    """
    whole = [each for each in found if each.busy is None]
    todo = list(whole)
    removed: set[int] = set()
    try:
        for place, each in enumerate(whole):
            todo[place] = await _without_schedules(session, settings, each)
        ways = [way for each in todo if each.busy is None for way in each.ways]
        await session.each("unbinding", unbind, ways, progress)
        await settled()
        todo = list(await session.each("looking", _looked_at, todo, progress))
        watched = tuple(
            name for each in todo if each.busy is None for name in each.proven if name not in each.classic
        )
        async with session.own_channel() as channel:
            for name in watched:
                await channel.consume(name, window=1, tag=name)
            counts = await reported(settings, watched)
            for place, each in enumerate(todo):
                todo[place] = await _removed(session, channel, each, counts)
                if todo[place].busy is None:
                    removed.add(place)
                if progress is not None:
                    progress("pruning", place + 1, len(todo))
    finally:
        kept = [way for place, each in enumerate(todo) if place not in removed for way in each.ways]
        await session.each("binding again", _bind_again, kept)
    return tuple(whole[place] if place in removed else each for place, each in enumerate(todo))


async def _without_schedules(session: Session, settings: Settings, found: Leftover) -> Leftover:
    """Take away what is left of former schedules; where there are any, all of the queue stays."""
    if names.schedule(found.owner) not in found.queues:
        return found
    wake = names.wake(found.owner)
    ways = [way for way in found.ways if way.queue == wake]
    try:
        busy = await end(session, settings, found.owner, lambda: session.each("", unbind, ways))
    except NotKnown as error:
        return replace(found, busy=str(error), known=False)
    if busy is not None:
        return replace(found, busy=busy)
    return replace(
        found,
        queues=tuple(name for name in found.queues if name != wake),
        ways=tuple(way for way in found.ways if way.queue != wake),
    )


async def _bind_again(session: Session, way: Binding) -> None:
    # An exchange that went with another leftover led here from a level that is no more, and of classic queues
    # some were deleted before the broker found one in use.
    if await session.exists("exchange", way.exchange) and await session.exists("queue", way.queue):
        await bind(session, way)


async def _looked_at(session: Session, found: Leftover) -> Leftover:
    """Ask each leader for its counts, as one that does not answer would hold up what comes next."""
    if found.busy is not None:
        return found
    for queue in found.proven:
        try:
            counts = await session.counts(queue)
        except NotKnown as error:
            return replace(found, busy=f"queue {queue!r} is not known: {error}", known=False)
        if counts is not None and (told := in_use(queue, counts.ready, counts.consumers)):
            return replace(found, busy=told)
    if names.permits(found.owner) not in found.queues:
        return found
    try:
        return replace(found, busy=await foreign(session, found.owner))
    except NotKnown as error:
        return replace(found, busy=f"what is in its queues of limits is not known: {error}", known=False)


async def _removed(
    session: Session, watching: Channel, found: Leftover, counts: Mapping[str, int | None]
) -> Leftover:
    """Remove it, or tell why it has to stay; one whose leader does not answer holds up no other."""
    try:
        return await _remove(session, watching, found, counts)
    except NotKnown as error:
        return replace(found, busy=f"not all of it is known: {error}", known=False)


async def _remove(
    session: Session, watching: Channel, found: Leftover, counts: Mapping[str, int | None]
) -> Leftover:
    """Delete what is proven to be empty; the queues that others still need go last."""
    if found.busy is not None:
        return found
    found = await _proven(session, found, counts)
    if found.busy is not None:
        return found
    watched = tuple(queue for queue in found.proven if queue not in found.classic)
    await let_go(watching, watched)
    # All of them before the first delete: what came to one may need the others.
    if told := next(filter(None, await session.each("", came, watched)), None):
        return replace(found, busy=told)
    for queue in found.queues:
        # Again, as to delete many takes seconds.
        if queue in watched and (told := await came(session, queue)):
            return replace(found, busy=told)
        if not await delete(session, queue, classic=queue in found.classic):
            return replace(found, busy=f"queue {queue!r} is in use")
    await _delete_exchanges(session, found)
    return found


async def _proven(session: Session, found: Leftover, counts: Mapping[str, int | None]) -> Leftover:
    """Tell whether it was empty by the reports, and whether nobody but we consumes it now."""
    # Classic ones in order: what expires in one comes to another that is looked at later.
    at_once = 1 if found.classic else CHANNELS
    every = await session.each("", Session.counts, found.proven, at_once=at_once)
    for queue, seen in zip(found.proven, every, strict=True):
        if queue in found.classic:
            told = in_use(queue, seen.ready, seen.consumers) if seen is not None else None
        elif (held := counts[queue]) is None or seen is None or not seen.consumers:
            return replace(found, busy=f"queue {queue!r}: nobody can tell whether it is empty", known=False)
        else:
            told = in_use(queue, max(held, seen.ready), seen.consumers - 1)
        if told:
            return replace(found, busy=told)
    return found


async def _delete_exchanges(session: Session, found: Leftover) -> None:
    if names.control(found.owner) in found.exchanges:
        # A pause of what goes: no task is in it, and to delete what does not exist is no error.
        for queue in (names.pause_note(found.owner), names.paused(found.owner)):
            await delete(session, queue)
    for exchange in found.exchanges:
        async with session.channel() as channel:
            await channel.ask("exchange_delete", exchange)
