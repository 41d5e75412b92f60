"""Tasks begin as they come while there is a permit for each thread and nobody else wants one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from taskqueue.broker.link import Link
from taskqueue.consume.attempts import Attempts
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.permits import KEPT
from taskqueue.consume.settling import Settling
from taskqueue.consume.turns import Turns
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings
from tests.support.permits_model import Site


@pytest.fixture
def site() -> Site:
    """Give one with a permit for each of its four threads, and six tasks that have begun."""
    site = Site(limit=4)
    site.ask(6)
    for number in range(4):
        site.channel.hand_out(10 + number, number)
    assert site.running == 4
    site.channel.answer(ready=0, consumers=4)
    assert site.running == 6
    return site


def _others_want_one(site: Site) -> None:
    site.clock.now += KEPT
    site.permits.look()
    site.channel.answer(ready=0, consumers=5)


def _the_limit_is_lower(site: Site) -> None:
    site.channel.limit = 3
    site.clock.now += 60
    site.permits.look()


def _the_channel_is_lost(site: Site) -> None:
    site.permits.lost()


def _one_runs_alone(site: Site) -> None:
    site.permits.reserved = 1
    site.permits.look()


def _the_permits_were_kept_for_long(site: Site) -> None:
    site.clock.now += 1000
    site.permits.look()


@pytest.mark.parametrize(
    "happens",
    [
        _others_want_one,
        _the_limit_is_lower,
        _the_channel_is_lost,
        _one_runs_alone,
        _the_permits_were_kept_for_long,
    ],
)
def test_what_does_not_run_waits_for_a_permit_again_once(site: Site, happens: Callable[[Site], None]) -> None:
    """And no other begins before one of those that run has ended."""
    happens(site)
    assert site.taken_back == 1
    assert site.running == 4
    assert not site.permits.idle
    site.ask(1)
    assert site.running == 4


def test_more_begin_than_there_are_threads_while_nobody_else_wants_a_permit(site: Site) -> None:
    """It is counted anew all the time, and tasks go on to begin."""
    site.clock.now += KEPT
    site.permits.look()
    site.channel.answer(ready=3, consumers=9)
    site.ask(2)
    assert (site.running, site.taken_back) == (8, 0)


def test_fewer_permits_than_threads_let_no_more_begin(site: Site) -> None:
    """Those that are short of tasks go back after a moment, and then each begins with a permit."""
    site.running = 1
    site.clock.now += 2 * KEPT
    site.permits.look()
    site.clock.now += KEPT
    site.permits.look()
    assert site.channel.requeued[-3:] == [10, 11, 12]
    site.ask(1)
    assert site.running == 1


def test_a_permit_that_others_want_goes_back_once_it_was_kept_for_a_moment() -> None:
    """However lately tasks were short of permits here."""
    site = Site(limit=4)
    site.ask(2)
    site.channel.hand_out(10, 0)
    site.channel.answer(ready=0, consumers=9)
    site.clock.now += 0.75 * KEPT
    site.permits.look()
    site.permits.withdraw()
    site.running = 0
    site.permits.look()
    assert 10 not in site.channel.requeued
    site.clock.run(0.3 * KEPT)
    assert 10 in site.channel.requeued


def test_permits_that_others_hold_begin_nothing() -> None:
    """Nobody wants for one where others ask in vain."""
    site = Site(limit=4)
    site.ask(6)
    for number in range(4):
        site.channel.hand_out(10 + number, number)
    site.channel.answer(ready=0, consumers=5)
    assert (site.running, site.taken_back) == (4, 0)


def test_it_looks_while_all_that_has_begun_hangs(site: Site) -> None:
    """No task comes, none ends: a limit that is lowered is heeded all the same."""
    site.channel.limit = 1
    site.clock.run(6.0)
    assert site.taken_back == 1
    assert site.running == 4


def test_a_leader_that_does_not_answer_says_nothing_of_who_wants_one(site: Site) -> None:
    """Nobody else waits until it answers."""
    _others_want_one(site)
    site.clock.now += KEPT
    site.permits.look()
    site.channel.answer(ready=0, consumers=0)
    assert (site.running, site.taken_back) == (4, 1)


def test_permits_over_a_lowered_limit_are_kept_by_consumers_who_want_none() -> None:
    """So tasks begin as they come where all others only keep such."""
    site = Site(limit=10)
    site.ask(2)
    site.channel.limit = 4
    site.clock.run(6.0)
    site.ask(4)
    for number in range(4):
        site.channel.hand_out(10 + number, number)
    site.channel.answer(ready=0, consumers=10)
    site.ask(2)
    assert site.running == 6


class Member:
    """A queue of the process that has stopped to take tasks, and runs nothing once it is `still`."""

    still = False

    def __init__(self, site: Site) -> None:
        self._site = site

    def suspend(self) -> None:
        """Put back what has not begun."""
        self._site.running = 0
        self._site.permits.withdraw()

    def resume(self) -> None:
        """Take tasks again."""


class Alone:
    """A task that is to run alone, on a site with permits."""

    def __init__(self, site: Site) -> None:
        self.begun = self.put_back = 0
        self._site = site
        self._isolation = Isolation()
        self._member = Member(site)
        self._isolation.join(self._member)
        self._turns = Turns(
            cast("QueueSettings", SimpleNamespace(name="q", timeout=60.0)),
            link=cast("Link", site.clock),
            paced=None,
            permits=site.permits,
            isolation=self._isolation,
            attempts=cast(
                "Attempts", SimpleNamespace(stopping=False, paused=False, jammed=False, begin=self._begin)
            ),
            settling=cast("Settling", SimpleNamespace(put_back=self._put_back, hold=self._hold)),
            deliveries=cast("Deliveries", SimpleNamespace(holds=lambda _: True)),
            clock=lambda: 0.0,
        )

    def take(self) -> None:
        """Take its turn."""
        task = SimpleNamespace(id="suspect")
        suspect = SimpleNamespace(delivery=None, task=task, earlier_deliveries=3)
        self._turns.take(cast("Attempt", suspect), alone=True)

    def end_all_else(self) -> None:
        """Have all else end that runs in the process."""
        self._member.still = True
        self._isolation.progressed()

    def _begin(self, _attempt: Attempt) -> None:
        self.begun += 1
        self._site.begin()

    def _put_back(self, _attempt: Attempt) -> None:
        self.put_back += 1

    @staticmethod
    def _hold(_seconds: float, then: Callable[[], None]) -> None:
        then()


def test_a_task_that_runs_alone_keeps_its_permit_while_all_others_go_back(site: Site) -> None:
    """Also where they have not been in use for long when it comes."""
    alone = Alone(site)
    site.running = 0
    site.clock.now += 2 * KEPT
    alone.take()
    assert sorted(site.channel.requeued[-3:]) == [10, 11, 12]
    alone.end_all_else()
    assert (alone.begun, alone.put_back) == (1, 0)
    site.permits.look()
    assert 13 not in site.channel.requeued


@pytest.mark.parametrize("happens", [_the_limit_is_lower, _the_channel_is_lost])
def test_a_task_that_is_to_run_alone_goes_back_where_its_permit_is_gone(
    happens: Callable[[Site], None],
) -> None:
    """Another machine may have it."""
    site = Site(limit=4)
    alone = Alone(site)
    alone.take()
    site.channel.hand_out(10, 3)
    happens(site)
    alone.end_all_else()
    assert (alone.begun, alone.put_back) == (0, 1)
    assert site.permits.reserved == 0
