"""benchmarks/plan.py: what a load takes, by hand-made sums."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plan import Costs, Load, mean_legs, needs
from taskqueue.topology.ladder import Ladder

COSTS = Costs(
    task_ms=1.0, leg_ms=2.0, delivery_ms=4.0, worker_ms=10.0,
    task_bytes=150.0, leg_bytes=350.0, waiting_bytes=1000.0,
)  # fmt: skip
PLAIN = Load(rate=70.0, request=0.5, payload=50)
loads = st.builds(
    Load,
    rate=st.floats(0.01, 1e5),
    request=st.floats(0.001, 100),
    delayed=st.floats(0, 1),
    delay=st.floats(0, 1e6),
    failing=st.floats(0, 0.9),
    max_retries=st.integers(1, 30),
    payload=st.integers(0, 10**6),
    hours=st.floats(0, 48),
    nodes=st.integers(1, 7),
)


def test_a_load_that_neither_waits_nor_fails() -> None:
    """One publish and one delivery each, 70 % busy; nothing waits, and no leg makes it late."""
    made = needs(PLAIN, COSTS)
    assert made.attempts_per_second == 70
    assert made.threads == 50
    assert made.consumer_cores == pytest.approx(1.0)
    assert made.broker_cores == pytest.approx(70 * (1 + 4) / 1000 / 0.7)
    assert made.disk_bytes_per_second == pytest.approx(70 * 200)
    assert (made.legs_per_task, made.waiting, made.late_seconds) == (0, 0, 0)


def test_a_task_that_fails_waits_its_backoff_and_dies_at_the_end() -> None:
    """Half of all attempts fail, two runs at most: 1.5 runs, 0.5 legs of 1 s, a quarter is moved to dead."""
    made = needs(replace(PLAIN, failing=0.5, max_retries=2), COSTS)
    assert made.attempts_per_second == pytest.approx(105)
    assert made.legs_per_task == pytest.approx(0.5)
    assert made.waiting == 35
    assert made.waiting_bytes == 35 * 1050
    assert made.broker_cores == pytest.approx(70 * (1.75 * 1 + 0.5 * 2 + 1.5 * 4) / 1000 / 0.7)
    assert made.disk_bytes_per_second == pytest.approx(70 * (1.75 * 200 + 0.5 * 400))
    assert made.late_seconds == pytest.approx(0.1)


def test_one_rung_has_the_most_of_it() -> None:
    """Delays of 500 to 1,500 s: half of them stay for 1,000 s. All first retries stay for 1 s."""
    spread = needs(replace(PLAIN, delayed=1.0, delay=1000.0), COSTS)
    assert spread.busiest_rung_per_second == pytest.approx(35, rel=0.01)
    assert needs(replace(PLAIN, failing=0.5, max_retries=2), COSTS).busiest_rung_per_second == 35
    assert needs(PLAIN, COSTS).busiest_rung_per_second == 0


def test_what_waits_is_rate_times_delay() -> None:
    """Little's law; and what comes while the receiver is away is on top."""
    made = needs(replace(PLAIN, delayed=0.5, delay=100.0, hours=2.0), COSTS)
    assert made.waiting == 3500
    assert made.waiting_in_outage == 3500 + 70 * 7200


def test_each_node_writes_its_copy_and_not_more_than_three_do() -> None:
    """A quorum queue has as many members as the cluster has nodes, three at most by default."""
    written = [needs(replace(PLAIN, nodes=nodes), COSTS).disk_bytes_per_second for nodes in (1, 2, 3, 5)]
    assert [each / written[0] for each in written] == pytest.approx([1, 2, 3, 3])


def test_legs_are_those_of_the_ladder() -> None:
    """Nine of ten digits are a leg, and whole seconds spare one digit."""
    assert mean_legs(0.0, Ladder()) == 0
    assert mean_legs(3600.0, Ladder()) == pytest.approx(0.9 * 3.8 + 1, abs=0.4)
    assert mean_legs(3600.0, Ladder()) - mean_legs(3600.0, Ladder(Decimal(1))) == pytest.approx(0.9, abs=0.05)


@given(loads, st.sampled_from(("rate", "delayed", "failing", "payload", "hours")))
def test_more_of_a_load_never_takes_less(load: Load, which: str) -> None:
    """Whatever else it is like."""
    more = {"delayed": 1.0, "failing": 0.95}.get(which, getattr(load, which) * 2 + 1)
    few, many = needs(load), needs(replace(load, **{which: more}))
    for field in fields(few):
        assert getattr(few, field.name) <= getattr(many, field.name) * (1 + 1e-9), field.name


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"request": 0.0}, {"delayed": 1.1}, {"failing": 1.0}, {"max_retries": 0}, {"nodes": 0},
     {"delay": -1.0}, {"payload": -1}, {"hours": -1.0}],
    ids="".join,
)  # fmt: skip
def test_what_can_not_be_is_refused(wrong: dict[str, float]) -> None:
    """A share above 1 for one, or a load whose tasks fail for ever."""
    with pytest.raises(ValueError, match=r"or more|above 0"):
        needs(replace(PLAIN, **wrong))  # type: ignore[arg-type]
