"""Outcomes of tasks whose delivery was lost: each is used once, and none for another task."""

from __future__ import annotations

from taskqueue.consume.outcomes import KEPT, MOST, Outcomes


def test_an_outcome_is_used_once() -> None:
    """A second message of the same name has to run."""
    outcomes: Outcomes[str] = Outcomes()
    outcomes.keep("a", "dead", 0.0)
    assert outcomes.take("b", 1.0) is None
    assert outcomes.take("a", 1.0) == "dead"
    assert outcomes.take("a", 1.0) is None


def test_an_old_outcome_is_forgotten() -> None:
    """By then another task may have the name: another consumer has had the first."""
    outcomes: Outcomes[str] = Outcomes()
    outcomes.keep("a", "dead", 0.0)
    assert outcomes.take("a", KEPT + 1) is None
    assert len(outcomes) == 0


def test_there_are_never_too_many() -> None:
    """The eldest is forgotten, and one that is kept again is young."""
    outcomes: Outcomes[str] = Outcomes()
    outcomes.keep(0, "first", 0.0)
    for number in range(1, MOST):
        outcomes.keep(number, "x", 0.0)
    outcomes.keep(0, "again", 1.0)
    outcomes.keep(MOST, "x", 1.0)
    assert len(outcomes) == MOST
    assert outcomes.take(1, 1.0) is None
    assert outcomes.take(0, 1.0) == "again"
