"""The client for asyncio: what Client is for threads, on the same I/O thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskqueue.errors import PublishFailed, TaskqueueError
from taskqueue.send.batch import LOOK, Outstanding, not_in_time
from taskqueue.send.client import CANCEL_TIMEOUT, SERVER, TIMEOUT
from taskqueue.send.new_task import NewTask, taking
from taskqueue.send.producer import Producer
from taskqueue.send.publisher import Sender
from taskqueue.settings import Settings, load
from taskqueue.task.message import Publish

_WINDOW = 200
"""Publishes of one call without a confirm at once: few enough that encoding them holds up no loop."""


class _Batch:
    """The publishes of one call, and the coroutine that waits for them; only `error` is read elsewhere."""

    def __init__(self, *, through_alarms: bool) -> None:
        self._through_alarms = through_alarms
        self.error: TaskqueueError | None = None
        self._outstanding = Outstanding()
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def began(self, publish: Publish) -> None:
        """Note one that is on its way."""
        self._outstanding.began(publish)

    def confirmed(self, publish: Publish) -> None:
        """Note one that the broker has; called on the I/O thread."""
        self._tell(partial(self._ended, publish))

    def failed(self, error: TaskqueueError) -> None:
        """Give up the rest; called on any thread."""
        if self.error is None:
            self.error = error
        self._tell(self._wake)

    async def below(self, limit: int, seconds: float, sender: Sender) -> None:
        """Wait until fewer than `limit` are outstanding; raises what went wrong, or PublishFailed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._misses(limit) and (self._through_alarms or not sender.alarm):
                    self._waiter = self._loop.create_future()
                    # An alarm wakes nobody, so look for it where its end is not waited for.
                    await asyncio.wait([self._waiter], timeout=None if self._through_alarms else LOOK)
        if self._misses(limit) or self.error is not None:
            # What is confirmed by now may be in calls that the loop has not made yet.
            await asyncio.sleep(0)
        if self._misses(limit):
            self.error = not_in_time(self._outstanding, sender)
        if self.error is not None:
            raise self._outstanding.named(self.error)

    def _misses(self, limit: int) -> bool:
        return len(self._outstanding) >= limit and self.error is None

    def _ended(self, publish: Publish) -> None:
        self._outstanding.ended(publish)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell(self, function: Callable[[], None]) -> None:
        # A loop that was closed meanwhile has nobody left who waits; the I/O thread must not suffer from it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)


class AsyncClient:
    """Sends tasks to a broker from asyncio: the arguments, results and errors of Client.

    Any number of sends at once share one connection, and so may several event loops. A send that is
    cancelled is given up: what is not on its way to the broker by then is not sent any more.
    """

    def __init__(
        self,
        server: str = SERVER,
        *,
        timeout: float = TIMEOUT,
        tracing: bool = False,
        settings: Settings | None = None,
        through_alarms: bool = True,
    ) -> None:
        self._producer = Producer(server, settings, tracing=tracing)
        self._timeout = timeout
        self._through_alarms = through_alarms

    @classmethod
    def from_config(cls, path: str | Path | None = None, *, timeout: float = TIMEOUT) -> Self:
        """Read taskqueue.ini as Client.from_config does; raises ConfigError."""
        settings = load(Path(path) if path is not None else None, sending=True)
        return cls(settings=settings, timeout=timeout)

    @taking(NewTask)
    async def send(self, task: NewTask) -> str:
        """Send one task and give its id, as Client.send does."""
        return (await self.send_many([task]))[0]

    @taking(NewTask)
    def checked(self, task: NewTask) -> NewTask:
        """Give a task as `send_many` takes it, with its id; sends nothing. Raises what `send` does for it."""
        return self._producer.checked(task)

    async def send_many(self, tasks: Iterable[NewTask | Mapping[str, Any]]) -> list[str]:
        """Send many tasks, each a mapping of `send`'s arguments, and give their ids in that order.

        Confirms are streamed: what is confirmed when an error is raised stays sent.
        """
        ids: list[str] = []
        batch = _Batch(through_alarms=self._through_alarms)
        with self._producer.span() as span:
            sender = self._producer.sender()
            try:
                for publish in self._producer.publishes(tasks, ids, span):
                    batch.began(publish)
                    sender.begin(publish, batch)
                    await batch.below(_WINDOW, self._timeout, sender)
                await batch.below(1, self._timeout, sender)
            except BaseException as error:
                # What still waits for a channel must not go out after the caller was told that it failed.
                batch.failed(error if isinstance(error, TaskqueueError) else PublishFailed("given up"))
                raise
        return ids

    async def cancel(self, task_id: str, queue: str = "default", *, timeout: float = CANCEL_TIMEOUT) -> bool:  # noqa: ASYNC109 as Client
        """Cancel a task that waits, and tell whether one did, as Client.cancel does."""
        return (await self.cancel_many([task_id], queue, timeout=timeout))[0]

    async def cancel_many(
        self,
        ids: Iterable[str],
        queue: str = "default",
        *,
        timeout: float = CANCEL_TIMEOUT,  # noqa: ASYNC109 the argument of Client
    ) -> list[bool]:
        """Cancel tasks that wait, as Client.cancel_many does, at the same price; the loop goes on meanwhile.

        Where this is cancelled, the look is given up as by `timeout`.
        """
        from taskqueue.send import cancelling  # noqa: PLC0415 few cancel

        return await cancelling.awaited(self._producer.cancel(ids, queue), timeout)

    async def close(self) -> None:
        """Close the connection; a later send makes a new one."""
        await asyncio.to_thread(self._producer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
