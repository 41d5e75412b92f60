"""Acks: as few frames as possible, and never one for a delivery that is not settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.acks import Ack, Acks


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
