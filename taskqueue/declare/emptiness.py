"""Proves that a queue may be deleted: by its leader's word that nothing is in it, never by a count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from taskqueue.broker.asking import BEHIND_MANY, Channel
from taskqueue.broker.management import Management
from taskqueue.broker.replies import PRECONDITION_FAILED, Counts, Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotKnown, TopologyConflict
from taskqueue.settings import Settings

_MOMENT = 1.0
"""Seconds after an unbind in which messages that were routed before it arrive."""
_FRESH = 30.0
"""Seconds in which the management API learns of a change: leaders report every five."""
_LOOK = 0.5


async def settled() -> None:
    """Wait until messages have arrived that were on their way when the last key was unbound."""
    await asyncio.sleep(_MOMENT)


async def require_empty(session: Session, settings: Settings, queue: str) -> None:
    """Raise unless a quorum queue is empty. No key may lead to it, and only our consumer may be on it.

    The leader says so by an empty ``basic.get``. That does not tell what the leader is dead-lettering at the
    moment. The management API tells it, where there is one. A second consumer is put on the queue: a report
    that knows of it was made later, and counts what is ready, unacked and being dead-lettered in one look.
    Raises NotKnown or TopologyConflict.
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
        await second.consume(queue, window=1, tag=queue)
        left = (await reported(settings, (queue,), consumers=2))[queue]
        # Whoever deletes it counts once more, and the close of a channel is not waited for.
        await let_go(second, (queue,))
    if left is None:
        raise NotKnown(f"{queue}: the management API tells nothing new, so it may hold messages: try again")
    if left:
        raise TopologyConflict(f"{queue} still holds {left} messages that it dead-letters: try again later")


async def reported(
    settings: Settings, queues: tuple[str, ...], *, consumers: int = 1
) -> dict[str, int | None]:
    """Give what each queue holds, by a report of the management API that knows of so many consumers on it.

    None where no such report came in time. The last of those consumers must have come a moment ago.
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


async def let_go(channel: Channel, tags: Iterable[str]) -> None:
    """End our consumers with these tags.

    What one of them holds stays out until the channel is closed, and the leader of a quorum queue counts that
    consumer until then. Raises NotKnown.
    """
    for tag in tags:
        channel.tell("basic_cancel", tag)
    # Twice: pika puts back what came before the first answer, and that is done before the second one.
    for _ in range(2):
        await channel.ask("basic_qos", prefetch_count=1, patience=BEHIND_MANY)


async def came(session: Session, queue: str) -> str | None:
    """Tell what came to a quorum queue since the report, after our consumers of it were let go.

    Asked right before the queue is deleted: anybody may publish straight to it. None where its leader says
    that nothing is in it, with our consumers too, and nobody consumes it. Raises NotKnown.
    """
    counts = await session.counts(queue)
    if counts is None or counts == Counts(ready=0, consumers=0):
        return None
    return f"queue {queue!r} got a message or a consumer meanwhile"


def _held(report: Mapping[str, Any]) -> int:
    """Count what a quorum queue held when its consumers were counted.

    Every message in it is persistent. The report collects `messages` separately, and that may be older
    (half a second, seen on 3.10.8).
    """
    total: int = report.get("messages_persistent", report.get("messages", 0))
    dead_lettering: int = report.get("messages_dlx", 0)
    return max(total, dead_lettering)


async def delete(session: Session, queue: str, *, classic: bool = False) -> bool:
    """Delete a queue that was proven to be empty; a `classic` one only if the broker too finds it empty.

    Gives False where the broker does not.
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
