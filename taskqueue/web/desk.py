"""The connection that all pages share, and what the last look at the counts has found."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, suppress

from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected
from taskqueue.errors import BrokerUnreachable, TaskqueueError
from taskqueue.operate.overview import Overview, look
from taskqueue.settings import Settings
from taskqueue.web.latest import Latest

NAME = "taskqueue web"
_FAULTY = 30.0
"""Seconds until a management API that does not answer is asked again."""


class Desk:
    """Asks the broker for whoever looks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._management = Management(settings)
        self._fault_since = 0.0
        self._opened: AbstractAsyncContextManager[Session] | None = None
        self._session: Session | None = None
        self._connecting = asyncio.Lock()
        self._latest = Latest(self._look)

    async def overview(self) -> Overview:
        """Count everything; raises what the broker says. It tells of when the counts are."""
        return await self._latest.get()

    def changed(self) -> None:
        """Count anew for the next who looks; from any thread."""
        self._latest.changed()

    async def close(self) -> None:
        """Close the connection."""
        await self._latest.close()
        await self._disconnect()

    async def _disconnect(self) -> None:
        opened, self._opened, self._session = self._opened, None, None
        if opened is not None:
            with suppress(TaskqueueError):
                await opened.__aexit__(None, None, None)

    async def _look(self) -> Overview:
        if self._management.fault is None:
            self._fault_since = time.monotonic()
        elif time.monotonic() - self._fault_since > _FAULTY:
            self._management.fault = None
            self._fault_since = time.monotonic()
        kept = self._session is not None
        try:
            return await self._looked()
        except BrokerUnreachable:
            await self._disconnect()
            if not kept:
                raise
            # It was lost while nobody looked, as when the broker was started again.
            return await self._looked()

    async def _looked(self) -> Overview:
        async with self._connecting:
            if self._session is None:
                opened = connected(self._settings, name=NAME)
                self._session = await opened.__aenter__()
                self._opened = opened
            session = self._session
        return await look(session, self._settings, self._management)
