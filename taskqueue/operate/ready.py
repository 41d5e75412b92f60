"""What is ready in the work queue of a paused queue: list it, and cancel it.

Only while it is paused: a look at a message of a work queue counts as a delivery of it, and what a look holds
no consumer gets.
"""

from __future__ import annotations

import time

from taskqueue.broker.asking import Delivery
from taskqueue.broker.session import Session
from taskqueue.errors import TaskqueueError
from taskqueue.operate import browse
from taskqueue.operate.acting import Acted, Choice, Transfer
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.operate.pause import paused
from taskqueue.operate.reading import Facts
from taskqueue.operate.waiting import Act


class NotPaused(TaskqueueError):
    """The queue runs, so nobody may look at what is ready in it."""


async def require_paused(session: Session, queue: str) -> None:
    """Raise NotPaused where a queue runs, NotKnown where that can't be told."""
    if await paused(session, queue) is None:
        raise NotPaused(f"{queue} runs, and its tasks with it: run `taskqueue pause {queue}` first")


async def first(
    session: Session, queue: str, chosen: Filter, *, limit: int, progress: Progress | None = None
) -> tuple[list[Facts], Acted]:
    """Count the tasks that a filter covers, and give the first `limit` of them. They stay in the queue."""
    choice = Choice(chosen)
    found: list[Facts] = []
    async with browse.look(session, queue) as looking:
        async for each in looking:
            facts = Facts(each.message)
            if choice.takes(facts) and len(found) < limit:
                found.append(facts)
            if progress is not None:
                progress(choice.looked, looking.count)
    return found, choice.acted()


async def act(
    session: Session, queue: str, chosen: Filter, what: Act, *, progress: Progress | None = None
) -> Acted:
    """Do something with each task that a filter covers: publish it as `what` says, then take it out.

    Raises PublishFailed where the broker does not take one: that one stays, as do those behind it.
    """
    choice = Choice(chosen)
    async with session.publishing() as channel, browse.look(session, queue) as looking:
        transfer = Transfer(channel, queue, done="taken out", stays="stays ready")

        def taken(found: Delivery) -> None:
            looking.take(found)
            choice.done += 1

        async for found in looking:
            facts = Facts(found.message)
            if choice.takes(facts):
                publish = what(facts, time.time())
                if publish is None:
                    taken(found)
                else:
                    await transfer.put(publish, lambda found=found: taken(found))  # type: ignore[misc]
            if progress is not None:
                progress(choice.looked, looking.count)
        await transfer.settle()
    return choice.acted()
