"""Tasks begin as they come while there is a permit for each thread and nobody else wants one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskqueue.consume.permits import KEPT
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


def test_permits_that_others_hold_begin_nothing() -> None:
    """Nobody wants for one where others ask in vain."""
    site = Site(limit=4)
    site.ask(6)
    for number in range(4):
        site.channel.hand_out(10 + number, number)
    site.channel.answer(ready=0, consumers=5)
    assert (site.running, site.taken_back) == (4, 0)
