"""What a command does with all tasks that a filter covers, and what it tells of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import Refused
from taskqueue.errors import InvalidTask, PublishFailed, TaskqueueError
from taskqueue.operate.filters import Filter
from taskqueue.operate.reading import Facts
from taskqueue.task.message import Publish

_WINDOW = 500
"""Most tasks without a confirm: as many may be there twice when a command is killed."""
_CONFIRMING = 30.0
Note = Callable[[str | None], None]
"""Called with the id of each task that something was done to."""


def nobody(_task_id: str | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of a command that acts on tasks."""

    looked: int
    matched: int
    done: int
    missing: tuple[str, ...] = ()
    """Ids that were named and not found."""
    unseen: tuple[str, ...] = ()
    """What was not seen, and why, in words."""
    left: int = 0
    """How many were left alone, as some of their headers can't be read."""


@dataclass(slots=True)
class Choice:
    """Tells which tasks are chosen, and counts them."""

    filter: Filter
    note: Note = nobody
    looked: int = 0
    matched: int = 0
    done: int = 0
    left: int = 0
    _found: set[str] = field(default_factory=set)

    def takes(self, facts: Facts) -> bool:
        """Count a task that was looked at, and tell whether it is chosen."""
        self.looked += 1
        if not self.filter.covers(facts):
            return False
        self.matched += 1
        if self.filter.ids is not None:
            self._found.add(facts.id or "")
        return True

    def did(self, facts: Facts) -> None:
        """Count a task that something was done to, and tell of it."""
        self.done += 1
        self.note(facts.id)

    def acted(self, unseen: tuple[str, ...] = ()) -> Acted:
        """Tell what came of it."""
        missing = (self.filter.ids or frozenset()) - self._found
        return Acted(self.looked, self.matched, self.done, tuple(sorted(missing)), unseen, self.left)


class Transfer:
    """Publishes tasks where they are to go, some at once, and takes each from where it was once confirmed.

    So wherever it ends, each task is in one of both places at least.
    """

    def __init__(self, channel: Channel, queue: str, *, done: str, stays: str) -> None:
        self._channel = channel
        self._queue = queue
        self._words = done, stays
        # One first: a broker tells of its alarm only who publishes, and what is out then may arrive later.
        self._most = self._done = 0
        self._out: deque[tuple[asyncio.Future[None], Callable[[], None]]] = deque()

    async def put(self, publish: Publish, take: Callable[[], None]) -> None:
        """Publish one, and wait while too many are without a confirm; `take` is called once it is confirmed.

        Raises PublishFailed where the broker does not take one: that one stays where it was.
        """
        self._out.append((self._channel.publish(publish), take))
        await self.settle(self._most)
        self._most = _WINDOW

    async def settle(self, most: int = 0) -> None:
        """Wait until at most so many are without a confirm."""
        while self._out and (len(self._out) > most or self._out[0][0].done()):
            confirm, take = self._out[0]
            try:
                await self._confirmed(confirm)
            except (TimeoutError, Refused, TaskqueueError) as error:
                self._take_confirmed()
                raise self._failure(error) from error
            if self._out and self._out[0][0] is confirm:
                self._out.popleft()
                self._take(take)

    async def _confirmed(self, confirm: asyncio.Future[None]) -> None:
        # Several may wait for it, so none may cancel it.
        await asyncio.wait([confirm], timeout=_CONFIRMING)
        if not confirm.done():
            raise TimeoutError
        confirm.result()

    def _failure(self, error: TimeoutError | Refused | TaskqueueError) -> TaskqueueError:
        if isinstance(error, Refused):
            return error.told()
        if isinstance(error, TaskqueueError) and not isinstance(error, PublishFailed | InvalidTask):
            return error
        done, stays = self._words
        why = str(error) or f"no confirm in {_CONFIRMING:g} s"
        return PublishFailed(
            f"{self._done} tasks of {self._queue} were {done}, and the next one was not confirmed: "
            f"it {stays}: {why}"
        )

    def _take(self, take: Callable[[], None]) -> None:
        self._done += 1
        take()

    def _take_confirmed(self) -> None:
        """Take those that are confirmed beside one that is not, as they would be there twice."""
        for confirm, take in self._out:
            if confirm.done() and not confirm.cancelled() and confirm.exception() is None:
                self._take(take)
        self._out.clear()
