"""Settlements that the broker refuses: one of each address is tried again, and the others follow it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from taskqueue.broker.link import Link
from taskqueue.consume.held import Address, Held


class Clock:
    """The timers of a link, which come when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Be the link."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), function))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, function = heapq.heappop(self._timers)
            function()
        self.now = until


@dataclass(eq=False)
class One:
    """A settlement that waits for the broker's answer to its publish."""

    stage: Stage
    address: Address = ("q.dead", "")
    overdue: bool = False
    orphaned: bool = False
    refused_for_ever: bool = False

    def start(self) -> None:
        """Publish, or join the others."""
        if not self.stage.held.joins(self):
            self.publish()

    def publish(self) -> None:
        """Have the answer at once."""
        self.stage.published.append(self)
        if self.refused_for_ever or self.address in self.stage.refuses:
            self.stage.held.add(self, "")
        else:
            self.stage.done.append(self)
            self.stage.held.taken(self.address)


@dataclass
class Stage:
    """A broker that refuses some addresses."""

    refuses: set[Address] = field(default_factory=lambda: {("q.dead", "")})
    published: list[One] = field(default_factory=list)
    done: list[One] = field(default_factory=list)
    given_up: list[One] = field(default_factory=list)
    changes: int = 0

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.held: Held[One] = Held(
            "q", cast("Link", self.clock), overdue=self.given_up.append, changed=self._changed
        )

    def refused(self, number: int) -> list[One]:
        """Start so many that are refused."""
        ones = [One(self) for _ in range(number)]
        for one in ones:
            one.start()
        return ones

    def _changed(self) -> None:
        self.changes += 1


def test_many_that_are_refused_cost_one_publish_a_try() -> None:
    """The second and all later ones are not even tried; the waits grow to half a minute."""
    stage = Stage()
    stage.refused(100)
    assert len(stage.published) == 1
    stage.clock.run(3600)
    assert 115 <= len(stage.published) <= 130
    assert not stage.done


def test_all_follow_the_first_that_is_taken() -> None:
    """At the next try, in one go."""
    stage = Stage()
    ones = stage.refused(100)
    stage.refuses.clear()
    stage.clock.run(30)
    assert set(stage.done) == set(ones)
    assert len(stage.done) == 100


def test_addresses_are_apart() -> None:
    """What is refused at one holds up nothing at another."""
    stage = Stage()
    stage.refused(5)
    other = One(stage, ("q.wait", "in>1s"))
    other.start()
    assert stage.done == [other]


def test_one_that_is_refused_for_its_own_sake_holds_up_no_others() -> None:
    """Each try is another one's."""
    stage = Stage()
    own = One(stage, refused_for_ever=True)
    own.start()
    ones = stage.refused(5)
    stage.refuses.clear()
    stage.clock.run(120)
    assert set(stage.done) == set(ones)
    assert own in stage.published


def test_what_is_overdue_is_given_up_and_the_others_are_tried() -> None:
    """The broker would close the channel over it."""
    stage = Stage()
    old, young = stage.refused(2)
    old.overdue = True
    stage.clock.run(5)
    assert stage.given_up == [old]
    assert stage.published[-1] is young


def test_orphans_leave_and_the_others_stay() -> None:
    """Their channel is gone, and with it what they were to settle."""
    stage = Stage()
    gone, there = stage.refused(2)
    gone.orphaned = True
    assert stage.held.drop_orphans() == [gone]
    stage.refuses.clear()
    stage.clock.run(5)
    assert stage.done == [there]


def test_after_all_orphans_have_left_a_new_one_is_tried_at_once() -> None:
    """Nothing is known of an address any more where nobody waits."""
    stage = Stage()
    (gone,) = stage.refused(1)
    gone.orphaned = True
    stage.held.drop_orphans()
    stage.refuses.clear()
    stage.clock.run(60)
    new = One(stage)
    new.start()
    assert stage.done == [new]


def test_a_stop_tries_each_address_once_more_at_once() -> None:
    """What is refused then is in vain, and what comes after it too; what is taken is not."""
    stage = Stage(refuses={("q.dead", ""), ("q.wait", "in>1s")})
    stage.refused(3)
    late = One(stage, ("q.wait", "in>1s"))
    late.start()
    stage.clock.run(20)
    stage.refuses.discard(late.address)
    assert stage.held.in_vain == 0
    before = stage.changes
    stage.held.stop()
    stage.clock.run(0)
    assert stage.done == [late]
    assert stage.held.in_vain == 3
    assert stage.changes > before
    stage.refused(1)
    assert stage.held.in_vain == 4
    stage.refuses.clear()
    stage.clock.run(30)
    assert stage.held.in_vain == 0
    assert len(stage.done) == 5
