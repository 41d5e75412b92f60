"""One wake-up of a schedule, from its delivery to its ack.

It takes the book, publishes what is due, the next wake-up and the new book, in this order and each confirmed,
and acks both. Wherever that ends, both come to another consumer, and all is done again under the same ids.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.outcome import Outcome
from taskqueue.consume.metrics import Metrics
from taskqueue.consume.strays import bury, confirm
from taskqueue.cron import moment
from taskqueue.errors import InvalidTask
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book, Turn, latest, turn
from taskqueue.schedule.messages import UnreadableBook, Wake
from taskqueue.task.message import Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Way
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_HELD, _LONGEST_HELD = 0.05, 5.0
_TELL_HELD = 15.0
"""Seconds after which a book that somebody else holds, who needs it for a moment, is told to be missing."""
_AGAIN = 10.0
_ROUND = 1.0
"""Seconds between two rounds of a wake-up that no rung holds."""
_ANSWER = 30.0


class WakeUp:
    """Works off one wake-up; `over` is called once it is settled, unless its channel is closed before.

    `now` is the time that counts, seconds since the epoch.
    """

    def __init__(
        self,
        delivery: Delivery,
        wake: Wake,
        *,
        way: Way,
        link: Link,
        now: float,
        metrics: Metrics,
        over: Callable[[], None],
    ) -> None:
        self.waits = False
        """It holds on for somebody else, and nothing of it is published yet."""
        self._delivery = delivery
        self._channel = delivery.channel
        self._wake = wake
        self._way = way
        self._link = link
        self._now = now
        self._metrics = metrics
        self._over = over
        self._books: list[Delivery] = []
        self._held = Backoff(_HELD, _LONGEST_HELD)
        self._since = link.monotonic()

    def ask(self) -> None:
        """Ask for the broker's time, by a wake-up in the place of this one."""
        self._confirm((messages.ask_publish(self._wake, self._way, self._now),), self._end)

    def start(self) -> None:
        """Take the book, and every copy of it."""
        answered = self.waits = False

        def got(delivery: Delivery | None) -> None:
            nonlocal answered
            answered = True
            if delivery is not None:
                if messages.is_book(delivery.message):
                    self._books.append(delivery)
                else:
                    bury(delivery, names.schedule(self._way.queue), self._way, self._link, self._now)
                self.start()
            elif self._books:
                self._taken()
            else:
                self._wait_for_book()

        def given_up() -> None:
            if not answered and self._channel.is_open:
                self._channel.close("no answer about the book")

        if self._channel.is_open:
            self._channel.get(names.schedule(self._way.queue), got)
            self._link.later(_ANSWER, given_up)

    def _wait_for_book(self) -> None:
        """Somebody else holds it, for a moment: another consumer, or a command."""
        now = self._link.monotonic()
        if now - self._since > _TELL_HELD:
            self._since = now
            log.error(
                "somebody has held the schedules of %s for %.0f s, a consumer or a command that stands "
                "still: they go on once it is ended, or the broker drops its connection",
                self._way.queue,
                _TELL_HELD,
            )
        self.waits = True
        self._link.later(self._held.next(), self.start)

    def _taken(self) -> None:
        try:
            books = {each.tag: messages.read_book(each.message) for each in self._books}
            book = latest(books.values())
            found = turn(book, self._now)
        except UnreadableBook as error:
            tell_unreadable(self._way.queue, error)
            self._put_off()
        except Exception:
            # A zone that this machine does not know, for one: another consumer may.
            log.exception("can't tell what is due of the schedules of %s", self._way.queue)
            self._put_off()
        else:
            if found.book is book:
                self._put_back(book, next(tag for tag, each in books.items() if each is book))
            else:
                self._enqueue(found)

    def _put_back(self, book: Book, tag: int) -> None:
        """Nothing is due: leave the book as it is. What was sent for its next occurrence has to walk on."""
        for each in self._books:
            if each.tag == tag:
                self._channel.requeue(each.tag)
            else:
                # A former copy: the one that counts stays.
                self._channel.ack(each.tag)
        if book.wake != self._wake.at:
            self._end()
            return
        # On a ladder that was pruned it may come back at once.
        wait = min(_ROUND, book.wake - self._now)

        def walk_on() -> None:
            self.waits = False
            if self._channel.is_open:
                self._confirm(messages.wake_publishes(book, self._way, self._now + wait), self._end)

        self.waits = True
        self._link.later(wait, walk_on)

    def _enqueue(self, found: Turn) -> None:
        publishes = []
        for occurrence in found.occurrences:
            try:
                publishes.append(messages.occurrence_publish(occurrence, self._way, self._now))
            except InvalidTask as error:
                log.error("%s can't be enqueued: %s", occurrence.id, error)  # noqa: TRY400 its text says all
        publishes += messages.wake_publishes(found.book, self._way, self._now)
        self._confirm(tuple(publishes), lambda: self._replace(found))

    def _replace(self, found: Turn) -> None:
        """Publish the new book on the channel that holds the old one.

        Should that channel be lost, the old one comes back only after the new one.
        """

        def ended(outcome: Outcome) -> None:
            if outcome is Outcome.CONFIRMED:
                for each in self._books:
                    self._channel.ack(each.tag)
                self._tell(found)
                self._end()
            elif self._channel.is_open:
                log.error("the schedules of %s could not be written (%s)", self._way.queue, outcome.value)
                self._put_off()

        self._channel.publish(messages.book_publish(self._way.queue, found.book), ended)

    def _tell(self, found: Turn) -> None:
        queue = self._way.queue
        for each in found.occurrences:
            # The one that is enqueued late stands for those that were missed, itself among them.
            self._metrics.scheduled(queue, each.schedule, enqueued=1, missed=each.missed or 0)
            missed = "" if each.missed is None else f", for {each.missed} that were missed"
            log.info("%s enqueued%s", each.id, missed)
        for skipped in found.skipped:
            self._metrics.scheduled(queue, skipped.schedule, missed=skipped.count)
            log.warning(
                "%s: %d missed and skipped, %s to %s",
                skipped.schedule,
                skipped.count,
                moment(skipped.first),
                moment(skipped.last),
            )

    def _put_off(self) -> None:
        """Give all back after a while, as it would come again at once."""

        def give_back() -> None:
            if self._channel.is_open:
                self._channel.requeue(self._delivery.tag)
                self._over()

        for each in self._books:
            self._channel.requeue(each.tag)
        self.waits = True
        self._link.later(_AGAIN, give_back)

    def _confirm(self, publishes: tuple[Publish, ...], then: Callable[[], None]) -> None:
        confirm(publishes, self._delivery, f"schedules of {self._way.queue}", self._link, then)

    def _end(self) -> None:
        if self._channel.is_open:
            self._channel.ack(self._delivery.tag)
            self._over()


def tell_unreadable(queue: str, error: UnreadableBook) -> None:
    """Say that what stands in the place of the book is left alone."""
    log.error("%s holds what this version can't heed: it %s; it stays", names.schedule(queue), error)
