"""A rate limit that waits in the broker: which task may run when. Pure: `now` is an argument.

Runs are spaced by the generic cell rate algorithm (ITU-T I.371). A task that would wait longer
than a second gets the next free slot of a line, and goes on the ladder until then. A slot is only a
promise of order: a task spends its token when it runs, and a fresh one spends those of tasks with slots
that do not come. So no token is lost with a task that does not come back here, and tasks that come back
late and together never pass the rate.

Where the clock is set back, reserved slots move back with it, so that the queue does not stand still.
"""

from __future__ import annotations

LONGEST_HOLD = 1.0
"""Seconds that a task may wait for its token in the consumer."""
_BURST_SECONDS = 0.1
_OVERDUE = 0.5
"""Seconds by which the next task with a slot may be late before a fresh one has its token."""


class Pace:
    """The tokens of one queue, in one process, which has an equal share of them.

    Where it is not `counted` among how many, no token may be spent until `share` says so.
    """

    def __init__(self, per_second: float, *, counted: bool = True) -> None:
        self._per_second = per_second
        self._interval = 1 / per_second
        self._tolerance = max(0.0, _BURST_SECONDS - self._interval)
        self._next = 0.0
        self._line = 0.0
        self._late = 0.0
        self._came = 0.0
        """When a task with a slot came last, or the first one is to come."""
        self._seen = 0.0
        self._counted = counted

    def share(self, among: int, now: float, *, after: float = 0.0) -> None:
        """Have the share of one of so many, which spends nothing for `after` seconds."""
        self._follow(now)
        former, self._interval = self._interval, among / self._per_second
        self._tolerance = max(0.0, _BURST_SECONDS - self._interval)
        # The next token was reckoned by the former share; the slots stay, whoever their tasks come back to.
        self._next = max(now + max(0.0, self._next - now) * self._interval / former, now + after)
        self._counted = True

    def refund(self) -> None:
        """Take a token back that was not spent."""
        self._next -= self._interval

    def hold(self, now: float, *, has_slot: bool) -> float | None:
        """Take a token and give the seconds until it may be used; None where the task must reserve a slot."""
        self._follow(now)
        if has_slot:
            self._came = max(self._came, now)
        if not self._counted:
            return None
        wait = max(0.0, max(self._next, now) - self._tolerance - now)
        if wait > LONGEST_HOLD or (not has_slot and self._is_behind_others(now, wait)):
            return None
        self._next = max(self._next, now) + self._interval
        return wait

    def slot(self, now: float, *, has_slot: bool = False) -> float:
        """Reserve the next free place in the line and give its time.

        Who comes at the time of its slot in vain does not go to the end: it is first in a line of its own.
        """
        self._follow(now)
        at = max(self._late if has_slot else self._line, self._next, now + LONGEST_HOLD)
        if has_slot:
            self._late = at + self._interval
        else:
            if self._line < now:
                self._came = at
            self._line = at + self._interval
        return at

    def _is_behind_others(self, now: float, wait: float) -> bool:
        # Those with slots may be long in coming: behind a backlog of fresh ones, or by slots that a smaller
        # share has given. Nobody would spend the tokens meanwhile.
        come = now - self._came < _OVERDUE + self._interval
        return self._line > now + LONGEST_HOLD and (come or wait > self._interval)

    def _follow(self, now: float) -> None:
        back = max(0.0, self._seen - now)
        self._next -= back
        self._line -= back
        self._late -= back
        self._came -= back
        self._seen = now
