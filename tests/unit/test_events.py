"""Events and their lines: the same keys in text and JSON, and nothing that is nobody's business."""

from __future__ import annotations

import json
import logging

import pytest

from taskqueue import events, logs
from taskqueue.events import DEAD, DONE, KEYS, LEVELS, RETRIED, Event, Events, bare, fields, summary

pytestmark = pytest.mark.usefixtures("root_logger")

FULL = Event(
    DEAD, "mail", "a=1 b", 3, "https://joe:secret@app.example.com/x?token=secret#y", 503, 0.0126, 1.5,
    1_790_000_000.25, "other", "failed", 'said "no"',
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ann@host",
)  # fmt: skip


def lines(
    capsys: pytest.CaptureFixture[str], log_format: str, *told: Event, level: str = "info"
) -> list[str]:
    """Write events as the log of a process has them."""
    logs.start(log_format, level)
    for each in told:
        events.write(each)
    return capsys.readouterr().err.splitlines()


def test_text_and_json_have_the_same_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """In the same order, with the same values."""
    (text,) = lines(capsys, "text", FULL)
    assert text.split(" ", 2)[1:] == ["error", str(FULL)]
    assert str(FULL) == (
        'event=dead id="a=1 b" queue=mail attempt=3 url=https://app.example.com/x status=503 ms=13 '
        "late_ms=1500 next=2026-09-21T14:13:20.250+00:00 to=other by=ann@host reason=failed "
        'error="said \\"no\\"" traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    )
    (line,) = lines(capsys, "json", FULL)
    found = json.loads(line)
    assert tuple(found)[:5] == ("time", "level", "logger", "process", "message")
    assert {key: found[key] for key in KEYS} == fields(FULL)
    assert tuple(found)[5:] == KEYS == tuple(fields(FULL))
    assert found["message"] == 'mail a=1 b: dead by ann@host, said "no"'


def test_a_key_without_a_value_is_left_out() -> None:
    """A task that was never run has no status and no length."""
    assert fields(Event(DEAD, "mail", reason="invalid")) == {
        "event": "dead", "queue": "mail", "reason": "invalid"
    }  # fmt: skip
    assert summary(Event(DEAD, "mail")) == "mail ?: dead"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://app.example.com/x", "https://app.example.com/x"),
        ("https://u:p@app.example.com:8443/x?a=b", "https://app.example.com:8443/x"),
        ("https://app.example.com/x#part", "https://app.example.com/x"),
        ("https://app.example.com/@joe", "https://app.example.com/@joe"),
        ("/x?a=b", "/x"),
        ("https://app.example.com/" + "x" * 9999, "https://app.example.com/" + "x" * 476),
    ],
)
def test_a_url_has_no_login_and_no_query(url: str, shown: str) -> None:
    """Both may hold a secret; and no line is longer than people read."""
    assert bare(url) == shown


def test_no_form_of_an_event_shows_a_secret() -> None:
    """Nor the one that Python makes for a debugger or a traceback."""
    assert "secret" not in f"{FULL} {FULL!r} {summary(FULL)}"


def test_what_others_wrote_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """An id with a line end in it must not pass for another event."""
    told = Event(DONE, "mail", "id\nevent=dead \x1b[31m")
    (text,) = lines(capsys, "text", told)
    assert r'id="id\nevent=dead \u001b[31m"' in text
    (line,) = lines(capsys, "json", told)
    assert json.loads(line)["id"] == told.id


def test_a_success_is_not_written_where_nobody_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`log_success = off`: it is counted all the same, and a failure is written."""
    counted: list[Event] = []
    logs.start("text", "info")
    quiet = Events(counted.append, log_success=False)
    told = [Event(DONE, "mail", "a"), Event(DEAD, "mail", "b")]
    for each in told:
        quiet.tell(each)
    assert counted == told
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_is_made_of_a_success_that_nobody_wants() -> None:
    """With `log_success = off` and no page, or where the log is for warnings only."""
    logging.getLogger().setLevel(logging.INFO)
    assert Events().hears(DONE)
    assert not Events(log_success=False).hears(DONE)
    assert Events(log_success=False).hears(DEAD)
    assert Events(lambda _event: None, log_success=False).hears(DONE)
    logging.getLogger().setLevel(logging.WARNING)
    assert not Events().hears(DONE)
    assert Events().hears(DEAD)


@pytest.mark.parametrize("due", [-1e18, 1e18, 1e300])
def test_a_task_may_be_due_in_a_year_that_has_no_name(due: float) -> None:
    """Whoever publishes chooses the eta; its line is written all the same."""
    assert f"next={due:.15g}" in str(Event(RETRIED, "mail", "a", next=due))


def test_a_warning_means_that_somebody_has_to_act() -> None:
    """A task that is dead will not run again by itself; every other event mends itself or is one's will."""
    assert [each for each, level in LEVELS.items() if level >= logging.WARNING] == [DEAD]


def test_other_log_handlers_get_the_text_too(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a program has set up asks a record for its message."""
    with caplog.at_level("INFO"):
        events.write(Event(DONE, "mail", "a"))
    assert caplog.messages == ["event=done id=a queue=mail"]
