"""Tells in the log who has paused a queue, and why. On the I/O thread only."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import Any

import pika
from pika import spec
from pika.channel import Channel
from pika.exceptions import AMQPError

from taskqueue.broker.link import Link
from taskqueue.broker.replies import REFUSALS
from taskqueue.broker.wire import TolerantConnection, to_message
from taskqueue.task.pause import Pause, noted, said
from taskqueue.topology import names

log = logging.getLogger(__name__)

_AGAIN = 0.3
_TRIES = 40
"""Looks at a note that is still to come, or that other consumers hold for the moment in which they look."""


class PauseNotes:
    """Reads the notes of paused queues, one after the other, each put back at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: TolerantConnection | None = None
        self._todo: deque[str] = deque()
        self._tries = 0

    def connected(self, connection: TolerantConnection) -> None:
        """Look over this connection from now on."""
        self._connection = connection
        self._todo.clear()

    def tell(self, queue: str) -> None:
        """Log that a queue is paused, with what its note says."""
        self._todo.append(queue)
        if len(self._todo) == 1:
            self._begin()

    def _begin(self) -> None:
        self._tries = _TRIES
        self._look()

    def _look(self) -> None:
        # Where the connection is gone, all is told anew on the next one.
        connection = self._connection
        if not self._todo or connection is None or not connection.is_open:
            return
        read = False

        def opened(raw: Channel) -> None:
            raw.add_callback(lambda _: raw.close(), [spec.Basic.GetEmpty])
            raw.basic_get(names.pause_note(self._todo[0]), got)

        def got(raw: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            nonlocal read
            # Before the note comes, what consumers ask by is in its place: the pause is beginning.
            read = bool(body)
            raw.basic_nack(method.delivery_tag, requeue=True)
            raw.close()
            if read:
                self._tell(noted(to_message(properties, body)))

        def closed(_raw: Channel, error: Exception) -> None:
            if read or connection is not self._connection:
                return
            self._tries -= 1
            if getattr(error, "reply_code", 0) in REFUSALS or not self._tries:
                self._tell(Pause())
            else:
                self._link.later(_AGAIN, self._look)

        with suppress(AMQPError):
            connection.channel(on_open_callback=opened).add_on_close_callback(closed)

    def _tell(self, pause: Pause) -> None:
        log.warning("%s: paused%s: what runs ends, no other task begins", self._todo.popleft(), said(pause))
        if self._todo:
            self._begin()
