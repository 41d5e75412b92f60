"""What a client cancels: by the look and the act of `taskqueue waiting cancel`, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from taskqueue import events
from taskqueue.broker.pika_log import IoThread, hush
from taskqueue.broker.session import connected, run
from taskqueue.errors import InvalidTask, NotKnown
from taskqueue.history import acts
from taskqueue.operate import waiting
from taskqueue.operate.acting import Note
from taskqueue.operate.filters import Filter
from taskqueue.settings import Settings

log = logging.getLogger("taskqueue")
_NAME = "taskqueue-cancel"


def begin(settings: Settings, queue: str, ids: Sequence[str]) -> Future[list[bool]]:
    """Begin to cancel tasks where they wait; gives whether each did, in that order.

    A look takes a core for seconds, so it holds up no event loop of the program. Where the future is
    cancelled, the look ends soon, and what it holds goes back to its place.
    """
    told: Future[list[bool]] = Future()
    IoThread(target=_main, args=(settings, queue, ids, told), name=_NAME).start()
    return told


def _main(settings: Settings, queue: str, ids: Sequence[str], told: Future[list[bool]]) -> None:
    hush()
    try:
        with acts.noted(settings, events.CANCELLED, queue, tell=log.warning) as note:
            cancelled = run(_unless(told, _cancel(settings, queue, ids, note)))
            # Who waits need not wait for the history, too.
            with suppress(InvalidStateError):
                told.set_result(cancelled)
    except BaseException as error:  # noqa: BLE001 whatever it is, it is for who waits
        with suppress(InvalidStateError):
            told.set_exception(error)


async def _unless(told: Future[list[bool]], work: Coroutine[None, None, list[bool]]) -> list[bool]:
    """Do the work, until nobody waits for it any more."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def ended(future: Future[list[bool]]) -> None:
        if future.cancelled() and task is not None:
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

    told.add_done_callback(ended)
    return await work


async def _cancel(settings: Settings, queue: str, ids: Sequence[str], note: Note) -> list[bool]:
    cancelled: set[str | None] = set()

    def did(task_id: str | None) -> None:
        cancelled.add(task_id)
        note(task_id)

    wanted = Filter(ids=frozenset(ids))
    async with connected(settings, name=_NAME) as session:
        acted = await waiting.act(session, queue, settings, wanted, waiting.cancelled(queue), note=did)
    if acted.left:
        raise InvalidTask(
            "headers", "can't be read, so it waits on: a consumer brings it to the dead queue when it is due"
        )
    if acted.unseen and not cancelled.issuperset(ids):
        raise NotKnown(f"{'; '.join(acted.unseen)}: a task may wait unseen: cancel it again")
    return [each in cancelled for each in ids]
