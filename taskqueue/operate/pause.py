"""Pauses a queue: consumers begin no task of it until it is resumed, or its time is over.

A queue `Q` is paused while the queue `Q.paused` exists, and the broker itself deletes that where the pause
has an end. It is bound to the exchanges by which consumers ask; what they ask comes back while it is not.
The note on who and why is in a queue beside it, as whoever reads from `Q.paused` would prolong its life.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

from taskqueue.broker.absence import Listed
from taskqueue.broker.bound import bound
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigError,
    NotDeclared,
    NotKnown,
    PublishFailed,
)
from taskqueue.task.message import Publish
from taskqueue.task.pause import Pause, note, noted
from taskqueue.topology import names
from taskqueue.topology.ladder import LONGEST_TTL_MS
from taskqueue.topology.pause import PAUSE_NOTE, pause_queue

__all__ = ["Pause", "milliseconds", "pause", "paused", "pauses", "resume", "seen"]

_DELETING, _CONFIRMING = 30.0, 10.0
_ARRIVING = 0.3
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def milliseconds(text: str) -> int:
    """Read how long a pause lasts, such as ``1h 30m``; raises ConfigError."""
    parts = _PART.findall(text)
    # With so many digits it is infinite.
    whole = round(min(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1000, 2**53))
    if not parts or _PART.sub("", text) or not 0 < whole <= LONGEST_TTL_MS:
        raise ConfigError(f"--for: must be a time such as 30s, 10m, 2h or 1d, got {text[:60]!r}")
    return whole


async def paused(session: Session, queue: str) -> Pause | None:
    """Tell whether a queue is paused, None where it is not.

    Raises NotKnown where that can't be told, as during an alarm of the broker, NotDeclared, BrokerRefused.
    """
    return (await pauses(session, (queue,)))[queue]


async def pauses(session: Session, queues: Sequence[str]) -> dict[str, Pause | None]:
    """Tell which queues are paused, all at once; raises as `paused` does."""
    there = await bound(session, [(names.control(queue), names.pausing(queue)) for queue in queues])
    found = [queue for queue, is_bound in zip(queues, there, strict=True) if is_bound]
    notes = await session.each("", _noted, found)
    return dict.fromkeys(queues) | dict(zip(found, notes, strict=True))


async def seen(session: Session, queues: Sequence[str], listed: Listed | None) -> dict[str, Pause | None]:
    """Tell which queues are paused, without those of which nobody can tell.

    `listed` is what exists, None where that is not known. Where the user may not publish, or the broker has
    an alarm, it goes by what stands for a pause.
    """
    found: dict[str, Pause | None] = dict.fromkeys(queues if listed is not None else ())
    if listed is not None:
        queues = [queue for queue in queues if _stands(queue, listed)]
    try:
        return found | await pauses(session, queues)
    except (BrokerRefused, BrokerUnreachable, NotDeclared, NotKnown):
        pass

    async def look(session: Session, queue: str) -> None:
        with suppress(BrokerRefused, NotKnown):
            there = await session.exists("queue", names.paused(queue))
            found[queue] = await _noted(session, queue) if there else None

    for queue in queues:
        found.pop(queue, None)
    await session.each("", look, queues)
    return found


def _stands(queue: str, listed: Listed) -> bool:
    return not listed.isdisjoint(("queue", name) for name in (names.paused(queue), names.pause_note(queue)))


async def pause(
    session: Session, queue: str, ladder: str, about: Pause, *, lasts_ms: int | None = None
) -> None:
    """Pause a queue, until `resume` or for some milliseconds; one that is paused gets the new end and note.

    It is paused at every moment from the first binding on, whenever this ends. Raises NotDeclared,
    BrokerRefused, NotKnown.
    """
    stands, told = names.paused(queue), names.pause_note(queue)
    ways = names.controls(queue, ladder)
    was_bound = await _is_bound(session, queue)
    async with session.own_channel() as channel:
        try:
            await channel.ask("queue_declare", told, durable=True, arguments=PAUSE_NOTE)
            # The note stands for the pause while another end takes the place of the former one.
            for way in ways:
                await channel.ask("queue_bind", told, way, names.pausing(queue))
            if was_bound:
                await _cut_off(session, stands, queue, ways)
            await channel.ask("queue_delete", stands, patience=_DELETING)
            await channel.ask("queue_declare", stands, durable=True, arguments=pause_queue(lasts_ms))
            for way in ways:
                await channel.ask("queue_bind", stands, way, names.pausing(queue))
            for way in reversed(ways):
                await channel.ask("queue_unbind", told, way, names.pausing(queue))
            await channel.ask("queue_bind", told, names.control(queue), names.noting(queue))
            await channel.confirms()
            written = channel.publish(Publish(names.control(queue), (names.noting(queue),), note(about)))
            await asyncio.wait_for(written, _CONFIRMING)
        except Refused as error:
            if error.absent:
                raise NotDeclared(f"{error.reason}: run 'taskqueue declare'") from error
            raise error.told() from error
        except (PublishFailed, TimeoutError) as error:
            why = str(error) or f"no answer in {_CONFIRMING:g} s"
            msg = f"{queue} is paused, but during an alarm of the broker no consumer sees that ({why})"
            raise NotKnown(msg) from error


async def resume(session: Session, queue: str, ladder: str) -> None:
    """Resume a queue, whether it is paused or not; raises BrokerRefused, NotKnown.

    Both queues that go hold no task: the one a note of ours, the other nothing but what consumers ask by.
    """
    both = (names.pause_note(queue), names.paused(queue))
    if await _is_bound(session, queue):
        for name in both:
            await _cut_off(session, name, queue, names.controls(queue, ladder))
    async with session.own_channel() as channel:
        try:
            for name in both:
                await channel.ask("queue_delete", name, patience=_DELETING)
        except Refused as error:
            raise error.told() from error


async def _is_bound(session: Session, queue: str) -> bool:
    try:
        return (await bound(session, [(names.control(queue), names.pausing(queue))]))[0]
    except NotKnown:
        # An alarm: it can be paused all the same, and nobody else can ask either.
        return False


async def _cut_off(session: Session, name: str, queue: str, ways: Sequence[str]) -> None:
    """Unbind a queue before it is deleted, and let what is on its way arrive.

    A channel whose first publish to a quorum queue meets the deletion of that crashes
    (``rabbit_channel:deliver_to_queues/2``, seen on 3.10.8), and its connection with it.
    """
    try:
        async with session.channel() as channel:
            for way in ways:
                await channel.ask("queue_unbind", name, way, names.pausing(queue))
    except Refused as error:
        if error.absent:
            return
        raise error.told() from error
    await asyncio.sleep(_ARRIVING)


async def _noted(session: Session, queue: str) -> Pause:
    """Read the note on a pause, as far as there is one: it is gone where the queue is resumed meanwhile."""
    try:
        async with session.channel() as channel:
            found = await channel.get(names.pause_note(queue))
            if found is not None:
                channel.requeue(found)
    except (Refused, NotKnown):
        return Pause()
    return noted(found.message if found else None)
