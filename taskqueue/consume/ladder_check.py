"""Checks that the ladders of a consumer are declared: retries on other ladders would find no way.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.replies import absent
from taskqueue.broker.wire import TolerantConnection
from taskqueue.topology.plan import Exchange, Queue


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
        self._over = False
        self._found = found
        self._missing = missing
        ConfirmChannel(link, connection, opened=self._ask, closed=self._closed)

    def _ask(self, channel: ConfirmChannel) -> None:
        def there() -> None:
            self._over = True
            channel.close("all is there")
            self._found(self._connection)

        channel.verify(self._items, there)

    def _closed(self, _channel: ConfirmChannel, code: int, reason: str) -> None:
        if not self._over and absent(code, reason):
            self._missing(reason)
        elif not self._over and self._connection.is_open:
            # A queue whose node is away comes back by itself: the consumer says what it then can't do.
            self._found(self._connection)
