"""Looks which queues are paused while the broker has an alarm, and reads nothing from who has published.

It asks for what stands for a pause by its name, over a connection that publishes nothing. What is not there
is an error in the broker's log, so nobody looks at other times. Consumers that begin during the alarm would
take no task without this, and tasks may be what fills the broker. Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pika.channel import Channel
from pika.exceptions import AMQPError

from taskqueue.broker.link import Link
from taskqueue.broker.replies import absent
from taskqueue.broker.wire import TolerantConnection
from taskqueue.topology import names


class PauseLook:
    """Looks at some queues once, beside `main`, and stays connected until `end`.

    `opened` is called with its connection, `seen` with each queue of which it can be told, and whether it is
    paused.
    """

    def __init__(
        self,
        link: Link,
        main: TolerantConnection,
        queues: Iterable[str],
        *,
        opened: Callable[[TolerantConnection], None],
        seen: Callable[[str, bool], None],
    ) -> None:
        self._link = link
        self._todo = deque(queues)
        self._opened = opened
        self._seen = seen
        self._ended = False
        self._connection = TolerantConnection(
            main.params,
            on_open_callback=self._open,
            on_open_error_callback=lambda *_: None,
            on_close_callback=lambda *_: None,
            custom_ioloop=main.ioloop,
        )

    def end(self) -> None:
        """Look no more."""
        self._ended = True
        # One that is being opened is closed when it is open.
        self._link.drop(self._connection)

    def _open(self, connection: TolerantConnection) -> None:
        if self._ended:
            connection.close()
            return
        self._opened(connection)
        self._next()

    def _next(self) -> None:
        if self._ended or not self._todo or not self._connection.is_open:
            return
        queue = self._todo.popleft()

        def ask(raw: Channel) -> None:
            raw.queue_declare(names.paused(queue), passive=True, callback=lambda _: there(raw))

        def there(raw: Channel) -> None:
            self._seen(queue, True)  # noqa: FBT003
            raw.close()

        def closed(_raw: Channel, error: Any) -> None:
            if absent(getattr(error, "reply_code", 0), getattr(error, "reply_text", "")):
                self._seen(queue, False)  # noqa: FBT003
            self._next()

        with suppress(AMQPError):
            self._connection.channel(on_open_callback=ask).add_on_close_callback(closed)
