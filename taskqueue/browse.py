"""Look through the messages of a queue without taking them, and take only chosen ones.

Messages are consumed without an ack, a page at a time, and all that were not taken go back to
where they stood when the channel closes. Memory holds no more than one page.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from taskqueue import broker
from taskqueue.errors import BrokerRefused, NotDeclared
from taskqueue.link import TolerantConnection
from taskqueue.link.wire import to_message
from taskqueue.message import Message
from taskqueue.settings import Settings

NOT_FOUND = 404
Progress = Callable[[int, int], None]
"""Called with how many messages were looked at, and how many there are to look at."""
_FIRST_PAGE = 200
_LARGEST_PAGE = 65_535
"""AMQP's largest prefetch; none at all would be 2000 for a quorum queue."""
_PAGE_BYTES = 64 * 2**20
_COUNTS = frozenset({"x-delivery-count", "x-acquired-count"})
_TICK = 0.1
_QUIET = 1.0
_QUIET_AFTER_ACK = 0.3
"""An ack makes room for one message more, which may or may not be there."""
_READ_PER_SECOND = 10_000
"""What a broker surely reads from its disk: a quorum queue is silent while it fetches a page."""
_PATIENCE = 10.0
_RETURNED = 0.5
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Found:
    """A message that was looked at: `page` and `tag` are what it takes to ack it."""

    message: Message
    tag: int
    page: int


class Browse:
    """One look through one queue, from its head; at most `limit` messages, all there are if None.

    Covers what is ready when it starts, so that it ends even where more keeps coming. A page that
    is full of messages to be returned is cancelled as a consumer and the next one, larger, opened:
    a quorum queue returns them page by page (in the order of the consumer tags, up to 32 of them),
    which keeps the order. `most_extra` bounds how far the look goes on at its end to keep it, see
    `close`. Raises NotDeclared where there is no such queue.
    """

    def __init__(
        self,
        connection: BlockingConnection,
        queue: str,
        *,
        limit: int | None = None,
        most_extra: float = math.inf,
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._channel: BlockingChannel = connection.channel()
        ready = ready_messages(self._channel, queue)
        self.count = ready if limit is None else min(ready, limit)
        """How many messages this look covers."""
        self._arrived: deque[Found] = deque()
        self._received = self._held = self._expected = 0
        self._last_came_back = False
        self._most_extra = most_extra
        self._bytes = 0
        self._page = 0
        self._size = self._room = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Found]:
        """Yield each message, oldest first; ends early where others take messages meanwhile."""
        for _ in range(self.count):
            if not self._arrived and not self._more():
                return
            yield self._arrived.popleft()

    def take(self, found: Found) -> None:
        """Ack a message: it is gone from the queue."""
        self._channel.basic_ack(found.tag)
        self._held -= 1
        if found.page == self._page:
            self._room += 1

    def close(self) -> None:
        """Return every message that was not taken, in order.

        A quorum queue puts what comes back behind what came back before, and ahead of all else. So
        a look that ended amid messages that had been looked at before goes on to the end of those.
        """
        if self._channel.is_closed:
            return
        self._drain()
        looked, size = self._received, 1
        while self._last_came_back and self._received - looked < self._most_extra:
            if not ready_messages(self._channel, self._queue):
                break
            self._turn_page(size)
            self._drain()
            if self._received == self._expected - size:
                break
            size = min(2 * size, _LARGEST_PAGE)
        self._connection.process_data_events(time_limit=0)
        self._channel.close()
        self._await_return()

    def _drain(self) -> None:
        # pika rejects what it has not handed out yet one by one, which would mix up the order.
        while self._room > 0 and self._await_delivery():
            self._arrived.clear()
        self._arrived.clear()

    def _more(self) -> bool:
        if self._room == 0:
            self._turn_page(self._next_size())
        return self._await_delivery()

    def _next_size(self) -> int:
        mean = self._bytes // max(1, self._received)
        bounded = max(_FIRST_PAGE, _PAGE_BYTES // max(1, mean))
        grown = max(_FIRST_PAGE, 2 * self._size)
        return max(1, min(grown, bounded, _LARGEST_PAGE, self.count - self._received))

    def _turn_page(self, size: int) -> None:
        if self._tag in self._channel.consumer_tags:
            self._channel.basic_cancel(self._tag)
        self._page += 1
        self._size = self._room = size
        self._expected = self._received + size
        self._channel.basic_qos(prefetch_count=size)
        self._channel.basic_consume(self._queue, self._arrive, consumer_tag=self._tag)

    @property
    def _tag(self) -> str:
        return f"browse-{self._page:06d}"

    def _arrive(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._received += 1
        self._held += 1
        self._bytes += len(body)
        self._room -= 1
        message = to_message(properties, body)
        # A classic queue sets the flag too, but no count: there each message goes back to its place.
        counted = message.fault is not None or not _COUNTS.isdisjoint(message.headers)
        self._last_came_back = method.redelivered and counted
        self._arrived.append(Found(message, method.delivery_tag, self._page))

    def _await_delivery(self) -> bool:
        """Wait for a message; False once none is to be expected any more.

        Nothing tells whether the broker has sent all: others may have taken some, or a TTL.
        """
        before = self._received
        start = time.monotonic()
        quiet = _QUIET + self._size / _READ_PER_SECOND if before < self._expected else _QUIET_AFTER_ACK
        while self._tag in self._channel.consumer_tags:
            self._connection.process_data_events(time_limit=_TICK)
            if self._received > before:
                return True
            waited = time.monotonic() - start
            if waited > _PATIENCE or (waited > quiet and not ready_messages(self._channel, self._queue)):
                return False
        return False

    def _await_return(self) -> None:
        """Wait until what was held is back, so that the next look sees it all.

        A quorum queue takes it back behind the close. What expires or is taken meanwhile never shows.
        """
        if not self._held:
            return
        channel = self._connection.channel()
        last, since = -1, time.monotonic()
        while (ready := ready_messages(channel, self._queue)) < self._held:
            if ready != last:
                last, since = ready, time.monotonic()
            elif time.monotonic() - since > _RETURNED:
                break
            self._connection.sleep(_POLL)
        channel.close()


def connect(settings: Settings, *, name: str) -> BlockingConnection:
    """Connect so that no message found there can end the connection, whatever its headers hold."""
    return broker.connect(settings, name=name, implementation=TolerantConnection)


def ready_messages(channel: BlockingChannel, queue: str) -> int:
    """Count what is ready in a queue; raises NotDeclared where there is none of that name."""
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            msg = f"queue {queue} does not exist: run `taskqueue declare`"
            raise NotDeclared(msg) from error
        msg = f"the broker does not show queue {queue}: {error.reply_text}"
        raise BrokerRefused(msg) from error


def url_of(body: bytes) -> str | None:
    """Read the url from a body, None where there is none to read."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return text(document.get("url")) if isinstance(document, dict) else None


def text(value: object) -> str | None:
    """Read a text that others may have written: what is no Unicode is escaped, no text is None."""
    if isinstance(value, str):
        # JSON can spell half of a surrogate pair, which nothing can print.
        value = value.encode(errors="backslashreplace")
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else None


def whole(headers: Mapping[str, Any], name: str) -> int | None:
    """Read a whole number ≥ 0 from a header that others may have written, None where it is none."""
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
