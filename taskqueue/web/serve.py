"""Serves the page until a signal: on one address, by one process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from taskqueue.errors import ConfigError
from taskqueue.settings import Settings
from taskqueue.settings.addresses import address
from taskqueue.web.access import Access
from taskqueue.web.app import make
from taskqueue.web.place import Place

GRACE = 10
"""Seconds that answers get to end."""
_AT_ONCE = 500
"""Connections and requests at once; more are told to come later."""
_TURN = 0.0005
"""Seconds that a thread may go on while another one waits for its turn."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us: uvicorn would end the process by them."""
        yield


def where(text: str) -> tuple[str, int]:
    """Read ``host:port``, on loopback where the host is empty; raises ConfigError."""
    try:
        host, _, port = address(text).rpartition(":")
    except ValueError as error:
        raise ConfigError(f"--listen: {error}, got {text[:60]!r}") from error
    return host.strip("[]") or "127.0.0.1", int(port)


def listen(host: str, port: int) -> socket.socket:
    """Listen there; raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(f"--listen: can't listen on {host}, port {port}: {why}") from error


def serve(
    settings: Settings,
    access: Access,
    place: Place,
    listening: socket.socket,
    *,
    ready: Callable[[Callable[[], object]], None] | None = None,
) -> None:
    """Serve until a signal, or until what `ready` is given is called from any thread."""
    config = uvicorn.Config(
        make(settings, access, place),
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_AT_ONCE,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config)
    # Looks run beside the pages and take all of a core: so the pages get their turn ten times as often.
    sys.setswitchinterval(_TURN)
    # What it says of itself is told by the command, and of each client that sends nonsense by nobody.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # Again: whatever still goes on is cut off. Nothing is lost by that.
            server.force_exit = server.should_exit
            server.should_exit = True

        if ready is not None:
            ready(lambda: loop.call_soon_threadsafe(stop))
        with _signals(loop, stop):
            await server.serve([listening])

    asyncio.run(main())


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    # What is ignored, as under nohup, stays so.
    heeded = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    try:
        for each in heeded:
            loop.add_signal_handler(each, stop)
    except (ValueError, RuntimeError):
        # In a test, on a thread that gets none.
        heeded = []
    try:
        yield
    finally:
        for each in heeded:
            loop.remove_signal_handler(each)
