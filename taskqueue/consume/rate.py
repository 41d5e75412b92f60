"""The tokens of a rate limit: when the next task may run. Pure: `now` is an argument.

Runs are spaced by the generic cell rate algorithm (ITU-T I.371): a token falls due every `interval`, and
those of a tenth of a second may be spent at once.
"""

from __future__ import annotations

_BURST_SECONDS = 0.1


class Pace:
    """The tokens of one queue, in one process, which has an equal share of them.

    Times are seconds, of a clock that only goes on. Where it is not `counted` among how many, no token may be
    spent until `share` says so.
    """

    def __init__(self, per_second: float, *, counted: bool = True) -> None:
        self.interval = 1 / per_second
        """Seconds from one token to the next."""
        self._per_second = per_second
        self._next = 0.0
        self._counted = counted

    def share(self, among: int, now: float, *, after: float = 0.0) -> None:
        """Have the share of one of so many, which spends nothing for `after` seconds."""
        former, self.interval = self.interval, among / self._per_second
        # The next token was reckoned by the former share.
        due = now + max(0.0, self._next - now) * self.interval / former
        self._next = max(due, now + after + self._tolerance) if after else due
        self._counted = True

    def wait(self, now: float) -> float:
        """Give the seconds until the next token may be spent, infinite where no share is known."""
        return max(0.0, self._next - self._tolerance - now) if self._counted else float("inf")

    def take(self, now: float, *, since: float) -> None:
        """Spend the token that has come for a task that waits `since` then.

        Where it is spent a moment late, the next one comes no later for that.
        """
        came = max(self._next - self._tolerance, since, now - _BURST_SECONDS)
        self._next = max(self._next, came) + self.interval

    def refund(self) -> None:
        """Take a token back that was not spent."""
        self._next -= self.interval

    @property
    def _tolerance(self) -> float:
        return max(0.0, _BURST_SECONDS - self.interval)
