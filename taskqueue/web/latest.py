"""What was found last by something that takes a while, for many who ask for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Found = TypeVar("Found")
FRESH = 1.0
"""Seconds that what was found is given again: however many ask, it is looked for once."""
SOON, OLD = 0.7, 30.0
"""Seconds that somebody waits for something new, where there is something of that age at most."""


class Latest(Generic[Found]):
    """Looks when somebody asks, one look at a time."""

    def __init__(
        self, look: Callable[[], Awaitable[Found]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._looking: asyncio.Task[Found] | None = None
        self._every: set[asyncio.Task[Found]] = set()
        self._last: tuple[float, Found] | None = None

    async def get(self) -> Found:
        """Give what a look of this second has found; raises what that raised.

        Where it takes long, that is what was found in the last half minute.
        """
        last = self._last
        age = OLD if last is None else self._clock() - last[0]
        if last is not None and age < FRESH:
            return last[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._run())
            # The loop alone does not keep a task.
            self._every.add(self._looking)
            self._looking.add_done_callback(self._ended)
        looking = self._looking
        await asyncio.wait((looking,), timeout=SOON if age < OLD else None)
        last = self._last
        return last[1] if last is not None and not looking.done() else await looking

    def changed(self) -> None:
        """Look anew for the next who asks, though a look goes on that has begun before; from any thread."""
        self._looking = self._last = None

    async def close(self) -> None:
        """End what goes on."""
        every = tuple(self._every)
        for each in every:
            each.cancel()
        await asyncio.gather(*every, return_exceptions=True)

    async def _run(self) -> Found:
        begun = self._clock()
        found = await self._look()
        if self._looking is asyncio.current_task():
            self._last = begun, found
        return found

    def _ended(self, task: asyncio.Task[Found]) -> None:
        self._every.discard(task)
        if not task.cancelled():
            # Who got something older does not ask how it ended: the next look says so.
            task.exception()
