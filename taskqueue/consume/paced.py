"""Where the tasks of one queue wait for a token of its rate: in the work queue, but for those of a second.

So what is over the rate keeps its order, and whoever has a token next gets the next task. As many are taken
as there are tokens for in a second, on top of what runs. Where the next token is further away than that,
nothing is taken at all until shortly before.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.broker.link import Link
from taskqueue.consume.rate import Pace
from taskqueue.consume.timer import Timer
from taskqueue.consume.workers import Attempt

LONGEST_HOLD = 1.0
"""Seconds that a task waits here for its token."""
_EARLY = 0.2
"""Seconds before the next token from which on tasks are taken again."""
_TOO_LONG = 5.0
"""Seconds of waiting from which on those that are here go back, as shares have shrunk."""
_LOOK = 2.0
"""Seconds after which others are counted anew while nothing is taken."""
_STEP = 1.5
_SOON = 0.001
_SETTLED = 5.0
"""Seconds for which no fewer tasks are taken after a change, so that few changes are made."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    attempt: Attempt
    begin: Callable[[], None]
    since: float


class Paced:
    """Begins each attempt once there is a token for it.

    `running` counts the requests of this process, of which there may be `concurrency`. `changed` is called
    where `near` or `room` is another, `used` where tokens are spent or waited for, `give_back` with each
    attempt whose token is too far away.
    """

    def __init__(
        self,
        pace: Pace,
        *,
        link: Link,
        concurrency: int,
        running: Callable[[], int],
        changed: Callable[[], None],
        give_back: Callable[[Attempt], None],
        used: Callable[[], None],
    ) -> None:
        self.near = False
        """Tasks are to be taken: the next token is there, or comes soon."""
        self.room = 1
        """How many tasks may be out at once, with those that run."""
        self._pace = pace
        self._link = link
        self._concurrency = concurrency
        self._running = running
        self._changed = changed
        self._give_back = give_back
        self._used = used
        self._waiting: deque[_Waiting] = deque()
        self._fitted = float("-inf")
        self._timer = Timer(link, self._due)
        self._looking = False

    @property
    def idle(self) -> bool:
        """Tell whether no task waits for a token."""
        return not self._waiting

    def share(self, among: int, after: float) -> None:
        """Have the share of one of so many, which spends nothing for `after` seconds."""
        self._pace.share(among, self._link.monotonic(), after=after)
        self.look()

    def add(self, attempt: Attempt, begin: Callable[[], None]) -> None:
        """Have `begin` called once there is a token."""
        self._waiting.append(_Waiting(attempt, begin, self._link.monotonic()))
        self._used()
        self.look()

    def refund(self) -> None:
        """Take a token back that was not spent."""
        self._pace.refund()
        self.look()

    def withdraw(self) -> list[Attempt]:
        """Give all attempts that wait, which wait no longer."""
        withdrawn = [each.attempt for each in self._waiting]
        self._waiting.clear()
        return withdrawn

    def look(self) -> None:
        """Go on, after anything has changed."""
        if self._looking:
            return
        self._looking = True
        try:
            self._begin()
            self._judge()
        finally:
            self._looking = False
        self._plan()

    def _begin(self) -> None:
        now = self._link.monotonic()
        while self._waiting and self._pace.wait(now) <= 0:
            first = self._waiting.popleft()
            self._pace.take(now, since=first.since)
            first.begin()

    def _judge(self) -> None:
        now = self._link.monotonic()
        wait = self._pace.wait(now)
        near = wait <= (LONGEST_HOLD if self.near else _EARLY)
        room = self._fit(now)
        if (near, room) != (self.near, self.room):
            self.near, self.room = near, room
            self._changed()
        if wait > _TOO_LONG:
            # After nothing is taken any more, or it would come again.
            for attempt in self.withdraw():
                self._give_back(attempt)

    def _fit(self, now: float) -> int:
        if self._pace.interval > LONGEST_HOLD:
            return 1
        ahead = math.ceil(LONGEST_HOLD / self._pace.interval)
        running = self._running()
        wanted = min(running + ahead, self._concurrency)
        short = wanted >= _STEP * self.room or running + ahead / 2 > self.room
        wide = _STEP * wanted <= self.room and now - self._fitted >= _SETTLED
        if wanted == self.room or not (wide or (short and wanted > self.room)):
            return self.room
        self._fitted = now
        return wanted

    def _plan(self) -> None:
        """Look again when the next thing is due."""
        wait = self._pace.wait(self._link.monotonic())
        if self.near and not self._waiting:
            return
        if not self.near:
            wait = min(wait - _EARLY, _LOOK)
        self._timer.set(max(wait, _SOON))

    def _due(self) -> None:
        if not self.near:
            self._used()
        self.look()
