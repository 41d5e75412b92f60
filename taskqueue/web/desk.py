"""The connection that all pages share, and what the last look at the counts has found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected
from taskqueue.errors import BrokerUnreachable, TaskqueueError
from taskqueue.operate.overview import Overview, look
from taskqueue.operate.probe import Probed
from taskqueue.settings import Settings

Result = TypeVar("Result")
NAME = "taskqueue web"
_FRESH = 1.0
"""Seconds that counts are shown again: however many look, the broker is asked once."""
_FAULTY = 30.0
"""Seconds until a management API that does not answer is asked again."""


class Desk:
    """Asks the broker for whoever looks, one look at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._management = Management(settings)
        self._fault_since = 0.0
        self._opened: AbstractAsyncContextManager[Session] | None = None
        self._session: Session | None = None
        self._lock = asyncio.Lock()
        self._last: tuple[float, Overview] | None = None
        self.probed: dict[str, tuple[float, Probed]] = {}
        """What the last probe of each ladder has found, and when: seconds since the epoch."""

    async def overview(self) -> Overview:
        """Count everything, by a look of this second; raises what the broker says."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH:
                overview = await self._ask(self._look)
                self._last = time.monotonic(), overview
            return self._last[1]

    def changed(self) -> None:
        """Count anew for the next who looks."""
        self._last = None

    async def close(self) -> None:
        """Close the connection."""
        opened, self._opened, self._session = self._opened, None, None
        if opened is not None:
            with suppress(TaskqueueError):
                await opened.__aexit__(None, None, None)

    async def _look(self, session: Session) -> Overview:
        if self._management.fault is None:
            self._fault_since = time.monotonic()
        elif time.monotonic() - self._fault_since > _FAULTY:
            self._management.fault = None
            self._fault_since = time.monotonic()
        return await look(session, self._settings, self._management)

    async def _ask(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        kept = self._session is not None
        try:
            return await work(await self._connected())
        except BrokerUnreachable:
            await self.close()
            if not kept:
                raise
            # It was lost while nobody looked, as when the broker was started again.
            return await work(await self._connected())

    async def _connected(self) -> Session:
        if self._session is None:
            opened = connected(self._settings, name=NAME)
            self._session = await opened.__aenter__()
            self._opened = opened
        return self._session
