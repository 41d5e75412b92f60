"""How a connection on asyncio is opened, or given up without a trace."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pika.connection import Parameters

from taskqueue.broker.connect import cause
from taskqueue.broker.wire import TolerantAsyncio

_CONNECTING = 10.0
_CLOSING = 2.0


async def opened(host: Parameters) -> TolerantAsyncio:
    """Connect to a host; raises TimeoutError, or what pika or the system says."""
    made: asyncio.Future[TolerantAsyncio] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    def failed(_connection: object, error: BaseException | str) -> None:
        over.set()
        if not made.done():
            made.set_exception(cause(error))

    def succeeded(connection: TolerantAsyncio) -> None:
        if not made.done():
            made.set_result(connection)

    connection = TolerantAsyncio(
        host,
        on_open_callback=succeeded,
        on_open_error_callback=failed,
        on_close_callback=lambda *_: over.set(),
        custom_ioloop=asyncio.get_running_loop(),
    )
    try:
        async with asyncio.timeout(_CONNECTING):
            return await made
    except (TimeoutError, asyncio.CancelledError):
        # A server that accepts and says nothing, or somebody who does not wait any more.
        await _given_up(connection, over)
        raise


async def _given_up(connection: TolerantAsyncio, over: asyncio.Event) -> None:
    """End one that may be on its way: else its socket stays open until something collects it."""
    if connection.is_closed or connection.is_closing:
        return
    # Where it is ended without a reason, pika raises.
    connection._terminate_stream(TimeoutError())  # type: ignore[attr-defined]  # noqa: SLF001
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING):
            await over.wait()
