"""A server that takes every connection and says nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Silent:
    """Listens on a port of loopback until the ``with`` block ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="silent")

    def __enter__(self) -> Self:
        """Begin to accept."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for each in self._taken:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._taken.append(self._listener.accept()[0])
