"""The book of the permits as a consumer reads it: for some milliseconds nobody else has it meanwhile.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.limit import Permit, UnreadableBook, is_book, latest, read_book
from taskqueue.topology import names

log = logging.getLogger(__name__)

_AGAIN = 0.5
_TELL = 15.0
"""Seconds after which a book that somebody else holds, who needs it for a moment, is told to be missing."""
_ANSWER = 30.0


class PermitBook:
    """What the broker says of the permits of a queue.

    `found` is called after each read; with False where somebody has asked for another read meanwhile. What is
    no book goes to `stray`, with the name of its queue.
    """

    def __init__(
        self,
        queue: str,
        link: Link,
        *,
        found: Callable[[bool], None],
        stray: Callable[[Delivery, str], None],
    ) -> None:
        self.limit = self.issued = 0
        self.asked = float("-inf")
        """When it was read last, or somebody tried (monotonic)."""
        self._queue = queue
        self._link = link
        self._found = found
        self._stray = stray
        self._editions: frozenset[str] = frozenset()
        self._channel: ConfirmChannel | None = None
        self._copies: list[Delivery] = []
        self._reading = self._again = False
        self._since = 0.0
        self._told = False

    def knows(self, permit: Permit) -> bool:
        """Tell whether a permit is one that counts. What was known once stays so."""
        return permit.edition in self._editions

    def opened(self, channel: ConfirmChannel) -> None:
        """Read it over this channel."""
        self._channel = channel
        self._reading = False
        self.look(0.0)

    def lost(self) -> None:
        """Keep what is known: the channel is gone."""
        self._channel = None
        self._reading = False

    def look(self, after: float) -> None:
        """Read it where so many seconds have passed since it was read; with 0.0 whatever is known."""
        now = self._link.monotonic()
        if self._reading:
            self._again |= not after
        elif self._channel is not None and now - self.asked >= after:
            self._since = now
            self._read(self._channel)

    def _read(self, channel: ConfirmChannel) -> None:
        self._reading, self._again = True, False
        self._copies = []
        self._next(channel)

    def _next(self, channel: ConfirmChannel) -> None:
        answered = False

        def got(delivery: Delivery | None) -> None:
            nonlocal answered
            answered = True
            if channel is not self._channel:
                return
            if delivery is not None:
                if is_book(delivery.message):
                    self._copies.append(delivery)
                else:
                    self._stray(delivery, names.limit(self._queue))
                self._next(channel)
            elif self._copies:
                self._end(channel)
            else:
                self._wait(channel)

        def given_up() -> None:
            if not answered and channel.is_open:
                channel.close("no answer about the permits")

        if channel.is_open:
            self.asked = self._link.monotonic()
            channel.get(names.limit(self._queue), got)
            self._link.later(_ANSWER, given_up)

    def _wait(self, channel: ConfirmChannel) -> None:
        """Somebody else holds it: another consumer, or `declare`."""
        if self._link.monotonic() - self._since > _TELL and not self._told:
            self._told = True
            log.error(
                "somebody has held %s for %.0f s, a consumer or a command that stands still: it is heeded "
                "again once that is ended, or the broker drops its connection (docs/limits.md)",
                names.limit(self._queue),
                _TELL,
            )

        def read() -> None:
            if channel is self._channel:
                self._read(channel)

        self._link.later(_AGAIN, read)

    def _end(self, channel: ConfirmChannel) -> None:
        self._reading = False
        try:
            books = {each.tag: read_book(each.message) for each in self._copies}
        except UnreadableBook as error:
            log.error(  # noqa: TRY400 its text says all
                "%s holds what this version can't heed: it %s; it stays", names.limit(self._queue), error
            )
            for each in self._copies:
                channel.requeue(each.tag)
            return
        book = latest(books.values())
        kept = next(tag for tag, each in books.items() if each is book)
        for tag in books:
            if tag == kept:
                channel.requeue(tag)
            else:
                # A former book, which a declare that was killed has left: the later one counts.
                channel.ack(tag)
        if book.limit != self.limit:
            log.info("%s: at most %d requests at a time over all consumers", self._queue, book.limit)
        self.limit, self.issued = book.limit, book.issued
        self._editions, self._told = frozenset(book.editions), False
        again, self._again = self._again, False
        self._found(not again)
        if again:
            self.look(0.0)
