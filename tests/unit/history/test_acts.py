"""What operators do to tasks, queues and schedules, as records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from taskqueue import events
from taskqueue.events import Event
from taskqueue.history import acts
from taskqueue.history.records import Record, record
from taskqueue.operate.acting import Choice
from taskqueue.operate.filters import Filter
from taskqueue.operate.reading import Facts
from taskqueue.settings import Settings
from taskqueue.task.message import Message


def said(text: str) -> None:
    """Take what is told; nothing is."""
    raise AssertionError(text)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Give the records that are made, which go to no broker."""
    found: list[Record] = []

    @contextmanager
    def recording(
        settings: Settings, _: Callable[[int], None], *, tell: Callable[[str], None]
    ) -> Iterator[tuple[Callable[[Event], None], ...]]:
        assert tell is said
        yield (lambda event: found.append(record(5, event)),) if settings.history is not None else ()

    monkeypatch.setattr(acts, "recording", recording)
    return found


def test_each_task_is_noted_once_it_is_done(heard: list[Record]) -> None:
    """And not what was only looked at; with who did it, and where it went."""
    with acts.noted(Settings(history=60), events.MOVED, "mail", tell=said, to="bulk", at=10.0) as note:
        choice = Choice(Filter(), note)
        for number in range(3):
            choice.takes(Facts(Message(b"{}", {}, {"message_id": f"t{number}"})))
        choice.did(Facts(Message(b"{}", {}, {"message_id": "t1"})))
    assert choice.done == 1
    assert heard == [
        {
            "at": 5000, "event": "moved", "id": "t1", "queue": "mail", "to": "bulk",
            "next": "1970-01-01T00:00:10.000+00:00", "by": acts.who(),
        }
    ]  # fmt: skip


def test_a_pause_tells_who_why_and_until_when(heard: list[Record]) -> None:
    """It is of the queue, and of no task."""
    kept = Settings(history=60)
    with acts.noted(kept, events.PAUSED, "mail", tell=said, at=10.0, reason="deploy") as acted:
        assert heard == []
        acted(None)
    (found,) = heard
    assert "id" not in found
    assert (found["event"], found["reason"], found["by"]) == ("paused", "deploy", acts.who())


def test_without_a_history_there_is_the_line_alone(
    heard: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    """With who did it; a queue has no id. Nothing is written where nobody logs such things."""
    caplog.set_level("INFO", "taskqueue.events")
    with acts.noted(Settings(), events.PURGED, "mail", tell=said, by="ann (page)") as note:
        note("t")
    with acts.noted(Settings(), events.RESUMED, "mail", tell=said, by="ann (page)") as note:
        note(None)
    caplog.set_level("WARNING", "taskqueue.events")
    with acts.noted(Settings(), events.PURGED, "mail", tell=said) as note:
        note("u")
    assert heard == []
    assert caplog.messages == [
        'event=purged id=t queue=mail by="ann (page)"',
        'event=resumed queue=mail by="ann (page)"',
    ]
    told = [record.msg for record in caplog.records if isinstance(record.msg, Event)]
    assert [events.summary(each) for each in told] == [
        "mail t: purged by ann (page)",
        "mail: resumed by ann (page)",
    ]
