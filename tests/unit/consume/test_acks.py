"""Acks: as few frames as possible, and never one for a delivery that is not settled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.acks import LARGEST_ASIDE, MOST_ASIDE, Ack, Acks


def test_a_settled_head_is_acked_in_one_frame() -> None:
    """`multiple` covers what came before."""
    acks = Acks()
    for tag in (1, 2, 3, 4):
        acks.delivered(tag)
    for tag in (3, 1, 2):
        acks.settle(tag)
    assert acks.flush() == [Ack(3, multiple=True)]
    assert len(acks) == 1


def test_what_is_settled_behind_an_open_one_is_acked_alone() -> None:
    """A long request at the head keeps no other waiting."""
    acks = Acks()
    for tag in (1, 2, 3):
        acks.delivered(tag)
    acks.settle(3)
    assert acks.flush() == [Ack(3, multiple=False)]
    assert acks.flush() == []


def test_what_is_set_aside_is_not_in_the_window_of_the_next_consumer() -> None:
    """Only what the present one got counts for it, and what it can work off."""
    acks = Acks()
    for tag in (1, 2, 3):
        acks.delivered(tag)
    acks.set_aside(2, 10)
    assert (acks.out, acks.aside, acks.aside_in_window) == (2, 1, 1)
    acks.begin()
    acks.delivered(4)
    assert (acks.out, acks.aside, acks.aside_in_window) == (1, 1, 0)
    acks.settle(2)
    acks.settle(4)
    acks.flush()
    assert (acks.out, acks.aside, acks.aside_in_window, len(acks)) == (0, 0, 0, 2)


@pytest.mark.parametrize(("count", "size"), [(MOST_ASIDE, 0), (4, LARGEST_ASIDE // 4)])
def test_what_may_be_set_aside_is_bounded_in_number_and_bytes(count: int, size: int) -> None:
    """And there is room again as soon as some of it is settled or given back."""
    acks = Acks()
    for tag in range(1, count + 1):
        assert acks.fullness < 1
        acks.delivered(tag)
        assert acks.set_aside(tag, size)
        assert not acks.set_aside(tag, size)
    assert acks.fullness == 1
    for tag in range(1, count // 2 + 1):
        acks.forget(tag)
    assert acks.fullness == 0.5


def test_it_is_told_whether_what_is_out_for_the_longest_time_is_set_aside() -> None:
    """It is what the broker's consumer timeout is about."""
    acks = Acks()
    assert not acks.eldest_is_aside
    for tag in (1, 2):
        acks.delivered(tag)
    acks.set_aside(2, 10)
    assert not acks.eldest_is_aside
    acks.forget(1)
    assert acks.eldest_is_aside


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("dabsgf")), max_size=80))
def test_in_any_order_the_counts_are_those_of_what_is_out(steps: list[tuple[int, str]]) -> None:
    """Delivered, set aside, another consumer, settled, given back, flushed."""
    acks, latest = Acks(), 0
    present: set[int] = set()
    out: set[int] = set()
    aside: set[int] = set()
    settled: set[int] = set()
    for pick, step in steps:
        open_ones = sorted(out - settled)
        tag = open_ones[pick % len(open_ones)] if open_ones else 0
        if step == "d":
            latest += 1
            acks.delivered(latest)
            out.add(latest)
            present.add(latest)
        elif step == "b":
            acks.begin()
            present.clear()
        elif step == "a" and tag:
            assert acks.set_aside(tag, 1) == (tag not in aside)
            aside.add(tag)
        elif step == "s" and tag:
            acks.settle(tag)
            settled.add(tag)
        elif step == "g" and tag:
            acks.forget(tag)
            out.discard(tag)
        elif step == "f":
            acks.flush()
            out -= settled
            settled.clear()
        aside &= out
        assert acks.out == len((out & present) - aside)
        assert (acks.aside, acks.aside_in_window) == (len(aside), len(aside & present))
        assert (len(acks), acks.settled) == (len(out), len(settled))
        assert acks.fullness == pytest.approx(len(aside) / MOST_ASIDE)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_any_order_acks_each_settled_delivery_once_and_no_other(steps: list[tuple[int, bool]]) -> None:
    """The broker's view: `multiple` acks every open tag up to it."""
    acks = Acks()
    at_broker: set[int] = set()
    settled: set[int] = set()
    for latest, (pick, flush) in enumerate(steps, 1):
        acks.delivered(latest)
        at_broker.add(latest)
        choice = sorted(at_broker - settled)[pick % len(at_broker - settled)]
        settled.add(choice)
        acks.settle(choice)
        if flush:
            for ack in acks.flush():
                taken = {tag for tag in at_broker if tag <= ack.tag} if ack.multiple else {ack.tag}
                assert taken <= settled
                assert taken <= at_broker
                at_broker -= taken
            assert not settled & at_broker
