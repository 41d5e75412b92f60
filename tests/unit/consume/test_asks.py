"""What a consumer asks to know which queues are paused, against a broker that is a set of bindings."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.asks import Ask, Asks
from taskqueue.topology import names

QUEUES = [f"q{number}" for number in range(1000)]
LADDERS = st.dictionaries(
    st.sampled_from(QUEUES[:8]), st.sampled_from(["shared", *QUEUES[:8], ""]), min_size=1
)


def said(asks: tuple[Ask, ...], ladders: dict[str, str], paused: Collection[str]) -> set[Ask]:
    """Answer as a broker on which these are paused: bound to their own exchange and their ladder's."""
    return {
        ask
        for ask in asks
        for queue in ask.queues
        if queue in paused and ask.exchange in {names.control(queue), names.control(ladders[queue])}
    }


def round_of(asks: Asks, ladders: dict[str, str], paused: Collection[str]) -> dict[str, bool]:
    """Ask, and ask again at once where that is needed."""
    found: dict[str, bool] = {}
    for _ in range(2):
        asked = asks.next()
        found |= asks.learn(asked, said(asked, ladders, paused))
        if not asks.urgent:
            break
    assert not asks.urgent
    return found


@given(LADDERS, st.lists(st.sets(st.sampled_from(QUEUES[:8])), max_size=5))
def test_each_change_is_seen_in_the_next_round(ladders: dict[str, str], states: list[set[str]]) -> None:
    """Whatever was paused before, on whatever ladder; and nothing else is told."""
    ladders = {queue: ladder or queue for queue, ladder in ladders.items()}
    asks = Asks(ladders)
    assert asks.unknown == list(ladders)
    before: dict[str, bool] = {}
    for paused in states:
        now = {queue: queue in paused for queue in ladders}
        found = round_of(asks, ladders, paused)
        assert found == {
            queue: is_paused for queue, is_paused in now.items() if before.get(queue) != is_paused
        }
        assert asks.unknown == []
        before = now


def test_a_thousand_queues_that_run_cost_a_few_asks_a_second() -> None:
    """And each fits the smallest frame that a broker may allow."""
    ladders = dict.fromkeys(QUEUES, "shared")
    asks = Asks(ladders)
    round_of(asks, ladders, ())
    asked = asks.next()
    assert len(asked) < 50
    assert max(sum(len(key) + 5 for key in ask.keys) for ask in asked) < 4000
    assert round_of(asks, ladders, {"q7"}) == {"q7": True}


def test_a_pause_on_the_ladder_of_a_former_ini_is_seen_in_a_while() -> None:
    """Each queue is asked for by its own exchange within half a minute."""
    ladders = dict.fromkeys(QUEUES[:90], "new")
    asks = Asks(ladders)
    round_of(asks, ladders, ())
    former = dict.fromkeys(QUEUES, "former")
    found: dict[str, bool] = {}
    for _ in range(31):
        found |= round_of(asks, former, {"q77"})
    assert found == {"q77": True}


def test_what_can_not_be_asked_by_is_not_asked_by() -> None:
    """A ladder's exchange: each queue is asked for alone. A queue's own: nothing of it is known any more."""
    ladders = dict.fromkeys(QUEUES[:3], "shared")
    asks = Asks(ladders)
    assert round_of(asks, ladders, {"q0"}) == {"q0": True, "q1": False, "q2": False}
    assert asks.refuse(names.control("q1")) == asks.unknown == ["q1"]
    assert round_of(asks, ladders, {"q0", "q1"}) == {}
    assert asks.refuse(names.control("shared")) == []
    assert {ask.exchange for ask in asks.next()} == {names.control("q0"), names.control("q2")}
    asks.forgive(names.control("q1"))
    assert round_of(asks, ladders, {"q0", "q1"}) == {"q1": True}


def test_what_hangs_is_asked_last() -> None:
    """So that all others are answered."""
    ladders = {queue: queue for queue in QUEUES[:3]}
    asks = Asks(ladders)
    first, *_ = asks.next()
    asks.hung(first)
    assert [ask.queues for ask in asks.next()] == [("q1",), ("q2",), ("q0",)]
