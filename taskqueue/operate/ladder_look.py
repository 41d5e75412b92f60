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

from taskqueue.broker.replies import Counts, Refused
from taskqueue.broker.session import Session
from taskqueue.broker.taken import taken
from taskqueue.errors import NotDeclared, NotKnown, TaskqueueError
from taskqueue.operate.markers import marking
from taskqueue.operate.rung_look import Progress, RungLook, Visitor, Walk
from taskqueue.operate.rungs import Rung, stages
from taskqueue.settings import Settings
from taskqueue.topology import names

_PATIENCE = 15.0
"""Seconds in which a broker takes back what another look held."""
_POLL = 0.02


async def look(
    session: Session,
    ladder: str,
    settings: Settings,
    visitor: Callable[[str], Visitor],
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Look at every message on a ladder. `visitor` is made for the id of the look.

    Covers all that is there from the beginning to the end of the look, and some of what comes or goes
    meanwhile. Gives the wait queues that tasks have left which the broker does not hand on: those were not
    seen. Raises NotDeclared where a rung is missing, NotKnown where the look can't be complete: what was
    taken by then stays taken.
    """
    levels = stages(ladder, settings)
    every = [rung.queue for level in levels for rung in level]
    if not await session.exists("queue", names.looked(ladder)):
        raise NotDeclared(f"queue {names.looked(ladder)} does not exist: run `taskqueue declare`")
    async with marking(session, settings, ladder) as markers:
        counts = await session.each("", undisturbed, every)
        total = sum(each.ready for each in counts)
        walk = Walk(markers, visitor(markers.look), total, progress)

        async def look_at(_session: Session, rung: Rung) -> None:
            await _look_at(session, walk, rung)

        for level in levels:
            await session.each("", look_at, level)
        held = [name for name, each in zip(every, counts, strict=True) if each.ready]
        await session.each("", undisturbed, held)
        return tuple(walk.stuck)


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
