"""Checks that the ladders of a consumer are declared: retries on other ladders would find no way.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.topology.plan import Exchange, Queue

_NOT_FOUND = 404
_ABSENT = ("NOT_FOUND - no queue", "NOT_FOUND - no exchange")


class LadderCheck:
    """Asks for each queue and exchange by its name: `found` is called where all exist, else `missing`.

    Neither is called where the connection is lost meanwhile: the check begins again on the next one.
    """

    def __init__(
        self,
        link: Link,
        connection: TolerantConnection,
        items: Sequence[Exchange | Queue],
        *,
        found: Callable[[TolerantConnection], None],
        missing: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._items = items
        self._left = len(items)
        self._found = found
        self._missing = missing
        ConfirmChannel(link, connection, opened=self._ask, closed=self._closed)

    def _ask(self, channel: ConfirmChannel) -> None:
        def there(_frame: object) -> None:
            self._left -= 1
            if not self._left:
                channel.close("all is there")
                self._found(self._connection)

        for item in self._items:
            declare = (
                channel.raw.exchange_declare if isinstance(item, Exchange) else channel.raw.queue_declare
            )
            declare(item.name, passive=True, callback=there)

    def _closed(self, _channel: ConfirmChannel, code: int, reason: str) -> None:
        if self._left and code == _NOT_FOUND and reason.startswith(_ABSENT):
            self._missing(reason)
        elif self._left and self._connection.is_open:
            # A queue whose node is away comes back by itself. The consumer logs what it can't do until then.
            self._found(self._connection)
