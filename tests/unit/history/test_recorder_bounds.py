"""What a recorder keeps while nothing can be written."""

from __future__ import annotations

import pytest

from taskqueue import events
from taskqueue.events import Event
from taskqueue.history import recorder
from taskqueue.history.recorder import Recorder
from taskqueue.settings import Settings


def test_what_is_over_the_bound_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is no attempt is not kept at all."""
    monkeypatch.setattr(recorder, "KEPT", 10)
    dropped: list[int] = []
    made = Recorder(Settings(history=60), dropped.append, clock=lambda: 5.0)
    for number in range(13):
        made.hear(Event(events.DONE, "mail", str(number)))
        made.hear(Event(events.POSTPONED, "mail", str(number)))
    batch = made._next_batch()
    assert batch.size == 10
    made._report()
    made._report()
    assert dropped == [3]


def test_nothing_is_recorded_where_there_is_no_history() -> None:
    """A consumer has no listener more, and no thread."""
    with recorder.recording(Settings(), lambda _: None) as listeners:
        assert listeners == ()
