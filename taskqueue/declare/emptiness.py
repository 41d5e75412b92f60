"""When a queue may be deleted: on its leader's word that nothing is in it, never on a count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from taskqueue.broker.management import Management
from taskqueue.broker.replies import PRECONDITION_FAILED, Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotKnown, TopologyConflict
from taskqueue.settings import Settings

_MOMENT = 1.0
"""Seconds in which what was routed before a key was unbound arrives."""
_FRESH = 30.0
"""Seconds in which the management API tells what is so now: leaders report every five."""
_LOOK = 0.5


async def settled() -> None:
    """Wait until what was on its way to a queue, when its last key was unbound, is there."""
    await asyncio.sleep(_MOMENT)


async def require_empty(session: Session, settings: Settings, queue: str) -> None:
    """Raise unless nothing is in a quorum queue that no key leads to and that only one consumer has, ours.

    The leader says so by an empty ``basic.get``. It does not say what it is dead-lettering at that moment.
    That is told by the management API, where there is one: a report in which a second consumer stands was
    made after that one came, and counts what is ready, unacked and being dead-lettered in one look. Raises
    NotKnown or TopologyConflict.
    """
    async with session.channel() as channel:
        try:
            head = await channel.get(queue)
        except Refused as error:
            raise error.told() from error
        if head is not None:
            channel.requeue(head)
            raise TopologyConflict(
                f"{queue} got a message meanwhile: stop what publishes to it, and try again"
            )
    if settings.management_url is None:
        return
    async with session.own_channel() as second:
        await second.consume(queue, window=1)
        left = (await reported(settings, (queue,), consumers=2))[queue]
    if left is None:
        raise NotKnown(f"{queue}: the management API tells nothing new, so it may hold messages: try again")
    if left:
        raise TopologyConflict(f"{queue} still holds {left} messages that it dead-letters: try again later")


async def reported(
    settings: Settings, queues: tuple[str, ...], *, consumers: int = 1
) -> dict[str, int | None]:
    """Give what each queue holds by a report of the management API that knows of so many consumers on it.

    None where no such report came in time. `queues` must each have that many since a moment only.
    """
    management = Management(settings)
    found: dict[str, int | None] = dict.fromkeys(queues)
    deadline = asyncio.get_running_loop().time() + _FRESH
    while None in found.values() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_LOOK)
        listed = await asyncio.to_thread(management.queues)
        if listed is None:
            raise NotKnown(f"{management.fault}: so nobody can tell whether the queues are empty")
        for each in listed:
            if each["name"] in found and each.get("consumers", 0) >= consumers:
                found[each["name"]] = _held(each)
    return found


def _held(report: Mapping[str, Any]) -> int:
    """Count what a quorum queue held when its consumers were counted.

    All of it is persistent. `messages` is collected apart from the rest, and may be older (*measured*: half a
    second, on 3.10.8).
    """
    total: int = report.get("messages_persistent", report.get("messages", 0))
    dead_lettering: int = report.get("messages_dlx", 0)
    return max(total, dead_lettering)


async def delete(session: Session, queue: str, *, classic: bool = False) -> bool:
    """Delete a queue that was proven to be empty; a `classic` one only if the broker finds it so once more.

    Gives False where it does not.
    """
    try:
        async with session.channel() as channel:
            await channel.ask("queue_delete", queue, if_unused=classic, if_empty=classic, patience=30.0)
    except Refused as error:
        if error.absent:
            return True
        if error.code == PRECONDITION_FAILED:
            return False
        raise error.told() from error
    return True
