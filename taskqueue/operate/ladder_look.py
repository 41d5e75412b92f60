"""Look through all that waits on a ladder, each task once, and leave it as it was.

The rungs are looked through level by level, in the order in which tasks walk them, the nine of a level at
once. The messages of a rung are consumed without an ack, in pages, up to a marker of the look
(`taskqueue.operate.markers`). What comes to its end meanwhile goes on: it is given back in time, and the
broker hands it on, as it looks for what has expired before it hands anything out. What is left goes back when
the channel closes, in its order.

A task that walks on while the ladder is looked through is met again on a later rung. Those that may are
remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from taskqueue.broker.management import Management
from taskqueue.broker.replies import Counts, Refused
from taskqueue.broker.session import Session
from taskqueue.broker.taken import taken
from taskqueue.errors import NotDeclared, NotKnown, TaskqueueError
from taskqueue.operate.markers import marking
from taskqueue.operate.rung_look import Progress, RungLook, Visitor, Walk
from taskqueue.operate.rungs import Rung, rungs, stages
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names

_PATIENCE = 15.0
"""Seconds in which a broker takes back what another look held."""
_POLL = 0.02


async def look(
    session: Session,
    queue: QueueSettings,
    settings: Settings,
    visitor: Callable[[str], Visitor],
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Look at every message on the ladder of a queue. `visitor` is made for the id of the look.

    Covers all that is there from the beginning to the end of the look, and some of what comes or goes
    meanwhile. Goes through what the configuration no longer names, too, where the management API lists it.
    Says what was not seen: tasks that have left a wait queue and that the broker does not hand on, and former
    wait queues where the API does not answer. Raises NotDeclared where a rung is missing, NotKnown where the
    look can't be complete: what was taken by then stays taken.
    """
    ladder, management = queue.ladder, Management(settings)
    steps = await asyncio.to_thread(_rungs, queue, settings, management)
    every = [rung.queue for rung in steps]
    if not await session.exists("queue", names.looked(ladder)):
        raise NotDeclared(f"queue {names.looked(ladder)} does not exist: run `taskqueue declare`")
    async with marking(session, ladder, steps) as markers:
        counts = await session.each("", undisturbed, every)
        total = sum(each.ready for each in counts)
        walk = Walk(markers, visitor(markers.look), total, progress)
        held = {name for name, each in zip(every, counts, strict=True) if each.ready}

        async def look_at(_session: Session, rung: Rung) -> None:
            # No marker comes to one of a former type, and its leader's word is more than silence. What was in
            # a longer one when this was empty has come by now.
            empty = rung.queue not in held and rung.entry is None
            if empty and not (await undisturbed(session, rung.queue)).ready:
                return
            await _look_at(session, walk, rung)

        for level in stages(steps):
            await session.each("", look_at, level)
        await session.each("", undisturbed, sorted(held))
    unseen = [
        f"{name}: the broker has not handed on all that has left it, so not all was seen"
        for name in walk.stuck
    ]
    if management.fault is not None:
        unseen.append(f"rungs that the ini no longer names were not looked at: {management.fault}")
    return tuple(unseen)


def _rungs(queue: QueueSettings, settings: Settings, management: Management) -> tuple[Rung, ...]:
    """List the rungs of the ladder of a queue, and the former ones of that and of a ladder of its own."""
    named = rungs(queue.ladder, settings)
    listed = management.wait_queues({queue.ladder, queue.name}) or frozenset()
    former = listed - {rung.queue for rung in named}
    if not former:
        return named
    entries = {names.wait(found.ladder) for found in map(names.timed, former) if found is not None}
    # The rungs of a former type have lost their keys to those of the new one.
    led_to = set[str]().union(*(management.destinations(entry) or () for entry in entries))
    return rungs(queue.ladder, settings, former, led_to)


async def _look_at(session: Session, walk: Walk, rung: Rung) -> None:
    async with session.own_channel() as channel:
        looking = RungLook(walk, channel, rung)
        try:
            await looking.run()
        except Refused as error:
            raise error.told() from error
        finally:
            # Where its leader is silent, that is told by whoever asks for its counts next.
            with suppress(TaskqueueError, Refused):
                await taken(channel, rung.queue)
                await looking.give_back()


async def undisturbed(session: Session, queue: str) -> Counts:
    """Wait until nobody holds a message of a queue: messages come back when the look at them ends.

    Raises NotDeclared where there is no such queue, NotKnown.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        counts = await session.counts(queue)
        if counts is None:
            raise NotDeclared(f"queue {queue} does not exist: run `taskqueue declare`")
        if not counts.consumers:
            return counts
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(
                f"{queue}: somebody else holds messages of it, so a look would not be complete: try again"
            )
        await asyncio.sleep(_POLL)
