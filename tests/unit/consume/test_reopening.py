"""How long a queue waits until its channel is opened again: longer each time, until it was consumed well."""

from __future__ import annotations

from taskqueue.consume.reopening import Reopening


def delays(reopening: Reopening, *, consumed_for: float, count: int) -> list[float]:
    """Lose the channel so many times, each after as many seconds of consuming."""
    found = []
    for number in range(count):
        reopening.consuming(number * 1000.0)
        found.append(reopening.delay(number * 1000.0 + consumed_for))
    return found


def test_what_fails_at_once_is_tried_less_and_less_often() -> None:
    """Up to every ten seconds; half of each delay is chance, so that queues don't come all at once."""
    for found, longest in zip(
        delays(Reopening(), consumed_for=1.0, count=7), (1, 2, 4, 8, 10, 10, 10), strict=True
    ):
        assert longest / 2 <= found <= longest


def test_what_was_consumed_well_is_opened_again_soon() -> None:
    """However often its channel was lost over the weeks."""
    assert all(found <= 1 for found in delays(Reopening(), consumed_for=31.0, count=5))


def test_a_fresh_connection_begins_anew() -> None:
    """Its broker may be another one."""
    reopening = Reopening()
    delays(reopening, consumed_for=1.0, count=5)
    reopening.connected()
    assert reopening.delay(10_000.0) <= 1


def test_it_knows_whether_everything_was_there_once() -> None:
    """What was never declared will not appear by itself."""
    reopening = Reopening()
    reopening.delay(0.0)
    assert not reopening.ever_consumed
    reopening.consuming(1.0)
    assert reopening.ever_consumed
