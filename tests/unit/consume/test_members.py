"""The share of a rate, by what the broker counts: its zero is a leader that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.consume.members import COUNTED, Members
from taskqueue.consume.rate import Pace


class Site:
    """One consumer with a rate of ten a second, and a channel that answers as a test says."""

    is_open = True

    def __init__(self, *answers: int) -> None:
        self.now = 1000.0
        self.later: list[Callable[[], None]] = []
        self.pace = Pace(10, counted=False)
        self._answers = list(answers)
        link = SimpleNamespace(monotonic=lambda: self.now, later=lambda _, then: self.later.append(then))
        self.members = Members(
            "q",
            link=cast("Link", link),
            share=lambda among, after: self.pace.share(among, self.now, after=after),
            stray=lambda *_: None,
        )

    def join(self) -> None:
        """Open the channel."""
        self.members.opened(cast("ConfirmChannel", self))

    def consume(self, _queue: str, _received: object, begun: Callable[[], None]) -> str:
        """Agree at once."""
        begun()
        return "tag"

    def count(self, _queue: str, counted: Callable[[Any], None]) -> None:
        """Give the next answer."""
        counted(SimpleNamespace(consumer_count=self._answers.pop(0)))

    def spent(self) -> int:
        """Count the tokens that may be spent in ten seconds, two of which are for joining."""
        self.now += 2
        found = 0
        for _ in range(800):
            self.now += 0.01
            if not self.pace.wait(self.now):
                self.pace.take(self.now, since=self.now)
                found += 1
        return found


def test_one_who_joins_and_gets_no_answer_spends_nothing_until_it_has_one() -> None:
    """It took itself for the only one, and passed the rate."""
    site = Site(0, 0, 4)
    site.join()
    assert site.spent() == 0
    site.later.pop(0)()
    assert site.spent() == 0
    site.later.pop(0)()
    assert 0 < site.spent() <= 8 * 10 / 4 + 4
    assert not site.later


def test_a_leader_that_is_silent_later_changes_no_share() -> None:
    """What was counted last stays."""
    site = Site(4, 0)
    site.join()
    site.now += COUNTED
    site.members.used()
    assert 0 < site.spent() <= 8 * 10 / 4 + 4
    assert not site.later
