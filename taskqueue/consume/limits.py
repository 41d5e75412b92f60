"""What holds over all consumers of one queue, put together: its rate, its permits, and their channel.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.limiter import Limiter, Owner
from taskqueue.consume.members import Members
from taskqueue.consume.paced import Paced
from taskqueue.consume.permits import Permits
from taskqueue.consume.rate import Pace
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings


class Limits:
    """The limits of one queue; a queue without any has an empty one.

    `running` counts the attempts of this process that have begun, `take_back` has those wait for a permit
    anew that do not run yet. `changed` is called where `near` or `room` is another,
    `give_back` with an attempt that has to wait for too long. What is no message of ours goes to `stray`,
    with the name of its queue.
    """

    def __init__(
        self,
        queue: QueueSettings,
        pace: Pace | None,
        *,
        link: Link,
        owner: Owner,
        running: Callable[[], int],
        take_back: Callable[[], None],
        changed: Callable[[], None],
        give_back: Callable[[Attempt], None],
        stray: Callable[[Delivery, str], None],
    ) -> None:
        self.paced: Paced | None = None
        self.permits: Permits | None = None
        self._changed = changed
        # With permits as many as there are at hand, and one more, which asks for another.
        self._permitted = 1 if queue.max_concurrency else queue.concurrency
        self._members: Members | None = None
        self._limiter: Limiter | None = None
        if pace is not None:
            self.paced = Paced(
                pace,
                link=link,
                concurrency=queue.concurrency,
                running=running,
                changed=changed,
                give_back=give_back,
                used=self._used,
            )
            self._members = Members(queue.name, link=link, share=self.paced.share, stray=stray)
        if queue.max_concurrency:
            self.permits = Permits(
                queue.name,
                link=link,
                concurrency=queue.concurrency,
                running=running,
                take_back=take_back,
                room=self._permits_changed,
                stray=stray,
            )
        if self._members or self.permits:
            self._limiter = Limiter(
                queue, link=link, owner=owner, members=self._members, permits=self.permits
            )

    def __bool__(self) -> bool:
        """Tell whether there are any: they take a channel."""
        return self._limiter is not None

    @property
    def near(self) -> bool:
        """Tell whether tasks are to be taken: a rate has a token, or soon."""
        return self.paced is None or self.paced.near

    @property
    def room(self) -> int:
        """How many tasks may be out at once, with those that run."""
        return self._permitted if self.paced is None else min(self._permitted, self.paced.room)

    @property
    def idle(self) -> bool:
        """Tell whether no task waits for its turn."""
        return all(each.idle for each in (self.paced, self.permits) if each is not None)

    def connected(self, connection: TolerantConnection) -> None:
        """Take part over a fresh connection."""
        if self._limiter is not None:
            self._limiter.connected(connection)

    def disconnected(self, reason: str) -> None:
        """Forget the channel: the broker takes back what was out on it."""
        if self._limiter is not None:
            self._limiter.disconnected(reason)

    def look(self) -> None:
        """Go on, after a task has ended."""
        if self.permits is not None:
            self.permits.look()

    def stop(self) -> None:
        """Give back all permits as soon as they are free."""
        if self.permits is not None:
            self.permits.stopping = True

    def withdraw(self) -> list[Attempt]:
        """Give all attempts that wait for their turn, which wait no longer."""
        waiting = [each for each in (self.paced, self.permits) if each is not None]
        return [attempt for each in waiting for attempt in each.withdraw()]

    def _used(self) -> None:
        if self._members is not None:
            self._members.used()

    def _permits_changed(self, at_once: int) -> None:
        self._permitted = at_once
        self._changed()
