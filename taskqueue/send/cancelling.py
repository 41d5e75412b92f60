"""Cancel what waits, by a look over its ladder: who only sends imports nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future

from taskqueue.errors import ConfigError, InvalidTask, NotKnown
from taskqueue.settings import Settings
from taskqueue.task.fields import shown


def checked(ids: Iterable[str]) -> tuple[str, ...]:
    """Give ids that tasks may have; raises InvalidTask, and TypeError for one id where several are due."""
    if isinstance(ids, str):
        msg = "cancel_many takes several ids, and cancel takes one"
        raise TypeError(msg)
    given = tuple(ids)
    for each in given:
        value: object = each
        if not isinstance(value, str) or not value:
            raise InvalidTask("id", f"must be a text that is not empty, got {shown(value)}")
    return given


def begin(settings: Settings, queue: str, ids: tuple[str, ...]) -> Future[list[bool]]:
    """Begin a look for tasks, unless there is none to look for. Raises ConfigError where no ini names it."""
    if queue not in settings.queues:
        # A rung that is not known would not be looked at, and a task on it be told as one that does not wait.
        raise ConfigError(
            f"the client does not know the ladder of queue {queue!r}, which the ini tells: "
            "make it by from_config"
        )
    return look(settings, queue, ids) if ids else over([])


def look(settings: Settings, queue: str, ids: tuple[str, ...]) -> Future[list[bool]]:
    """Look for tasks and cancel them; gives whether each waited, in that order."""
    from taskqueue.operate import cancelling  # noqa: PLC0415 with what operators look by, which takes long

    return cancelling.begin(settings, queue, ids)


def over(told: list[bool]) -> Future[list[bool]]:
    """Give what a look that has ended has told."""
    future: Future[list[bool]] = Future()
    future.set_result(told)
    return future


def wait(told: Future[list[bool]], seconds: float) -> list[bool]:
    """Wait for the end of a look; raises NotKnown where it takes longer."""
    try:
        return told.result(seconds)
    except TimeoutError:
        raise _not_in_time(seconds) from None
    finally:
        # Whatever ends the wait: what is still held goes back.
        told.cancel()


async def awaited(told: Future[list[bool]], seconds: float) -> list[bool]:
    """Do what `wait` does, in an event loop that goes on meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(told)
    except TimeoutError:
        raise _not_in_time(seconds) from None


def _not_in_time(seconds: float) -> NotKnown:
    return NotKnown(
        f"the look did not end in {seconds:g} s, so nobody knows whether it is cancelled: "
        "try again with a longer timeout"
    )
