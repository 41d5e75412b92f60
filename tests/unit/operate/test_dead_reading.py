"""What a dead message tells, whatever it holds, and what is left of it when it is replayed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.dead import dead_task, revived
from taskqueue.operate.reading import Facts
from taskqueue.task.message import Message
from taskqueue.topology.ladder import Way

NOW = 1_764_074_365.5
WAY = Way("mail", "mail")


def test_a_dead_task_tells_reason_url_attempts_error_and_when() -> None:
    """All from our own headers, the url from the body."""
    task = dead_task(
        Message(
            b'{"url": "/x"}',
            {
                "taskqueue-reason": "failed",
                "taskqueue-runs": 3,
                "taskqueue-error": "status 500",
                "taskqueue-died": 1_764_074_365_500,
                "taskqueue-first-seen": 1_764_074_000_000,
            },
            {"message_id": "a"},
        ),
        "mail",
    )
    assert (task.id, task.reason, task.url, task.attempts) == ("a", "failed", "/x", 3)
    assert (task.error, task.at, task.first_seen) == ("status 500", NOW, 1_764_074_000.0)


def test_what_the_broker_itself_dead_lettered_tells_by_x_death() -> None:
    """The record of the work queue counts, and not those of the wait queues that it came through."""
    died = datetime.fromtimestamp(1_764_074_365, UTC)
    deaths = [
        {"queue": "mail", "reason": "delivery_limit", "time": died, "count": 1},
        {"queue": "mail.wait.20s", "reason": "expired", "time": died, "count": 1},
    ]
    headers = {"x-first-death-reason": "expired", "x-death": deaths, "taskqueue-runs": 1}
    task = dead_task(Message(b'{"url": "/x"}', headers, {"message_id": "a"}), "mail")
    assert (task.reason, task.at, task.attempts) == ("delivery_limit", died.timestamp(), 1)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-death": [{"queue": "mail", "reason": "expired"}]}, True),
        ({"x-death": [{"queue": "mail", "reason": "expired"}], "taskqueue-error": "status 500"}, True),
        (
            {"x-death": [{"queue": "mail.wait.20s", "reason": "expired"}], "taskqueue-reason": "expired"},
            False,
        ),
        ({"x-death": [{"queue": "mail", "reason": "rejected"}]}, False),
        ({"taskqueue-reason": "expired", "taskqueue-error": "expired 3 s ago"}, False),
    ],
)
def test_what_the_broker_let_expire_says_that_nothing_was_rolled_back(
    headers: dict[str, Any], *, told: bool
) -> None:
    """By a property of the message, and not by its `expires`, which a consumer sees to."""
    task = dead_task(Message(b'{"url": "/x", "roll_back": "/sorry"}', headers, {"message_id": "a"}), "mail")
    assert ("no roll_back was called" in (task.error or "")) is told


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (b"", None),
        (b"\xff", None),
        (b"[1]", None),
        (b'{"url": 7}', None),
        (b'{"url": "\\ud800"}', "\\ud800"),
        (b"[" * 100_000, None),
        (b"9" * 10_000, None),
        (b'{"payload": %b, "url": "/x"}' % (b"9" * 10_000), "/x"),
        (b'{"url": "/x", "payload": [-%b, 1%be5]}' % (b"9" * 10_000, b"0" * 10_000), "/x"),
    ],
)
def test_a_url_that_cannot_be_read_is_unknown(body: bytes, url: str | None) -> None:
    """What is no task has none; what can't be printed is escaped."""
    assert dead_task(Message(body), "mail").url == url


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from(
    [
        "taskqueue-reason",
        "taskqueue-runs",
        "taskqueue-error",
        "taskqueue-died",
        "taskqueue-first-seen",
        "x-death",
    ]
)


@given(st.binary(), st.dictionaries(_names, _value), st.none() | st.text() | st.binary())
def test_no_header_and_no_body_keeps_a_dead_task_from_being_read(
    body: bytes, headers: dict[str, object], message_id: str | bytes | None
) -> None:
    """Others can publish into the dead queue, too."""
    task = dead_task(Message(body, headers, {"message_id": message_id}), "mail")
    assert task.reason
    assert task.attempts >= 0


def test_a_replayed_message_has_its_id_and_body_and_no_past() -> None:
    """It is due at once; what the broker noted is gone, as a kept x-death is taken for a cycle."""
    message = Message(
        b'{"url": "/x", "countdown": 60}',
        {
            "taskqueue-reason": "failed",
            "taskqueue-runs": 3,
            "taskqueue-error": "status 500",
            "taskqueue-died": 1,
            "taskqueue-due": 2,
            "taskqueue-first-seen": 3,
            "x-death": [{"queue": "mail"}],
            "x-first-death-queue": "mail",
            "x-delivery-count": 4,
            "CC": ["10s>0.3s", "0.1s>due:mail", "astray>due:mail"],
            "taskqueue-sent-round": 5,
            "taskqueue-crashes": 2,
            "traceparent": "00-ab",
        },
        {"message_id": "a", "priority": 3, "expiration": "100"},
    )
    again = revived(Facts(message, "mail"), WAY, now=NOW).message
    assert again.body == message.body
    assert again.properties == {"message_id": "a", "priority": 3}
    assert again.headers == {
        "taskqueue-first-seen": 3,
        "taskqueue-due": 1_764_074_365_500,
        "taskqueue-replays": 1,
        "traceparent": "00-ab",
    }


def test_a_task_that_went_astray_and_died_is_read_as_any_other() -> None:
    """The record of the work queue counts, whatever ladder it came over and whatever way it has."""
    died = datetime.fromtimestamp(1_764_074_365, UTC)
    deaths = [
        {"queue": "crowd.wait.20s.classic", "reason": "expired", "time": died, "count": 1},
        {"queue": "mail.dead", "reason": "rejected", "time": died, "count": 1},
        {"queue": "mail", "reason": "maxlen", "time": died, "count": 1},
    ]
    headers = {"x-death": deaths, "CC": ["10s>0.3s", "0.1s>due:mail", "astray>due:mail"]}
    task = dead_task(Message(b'{"url": "/x"}', headers, {"message_id": "a"}), "mail")
    assert (task.reason, task.at) == ("maxlen", died.timestamp())


def test_a_replayed_roll_back_still_knows_what_failed() -> None:
    """Its request says so."""
    failed = {"taskqueue-failed-id": "a", "taskqueue-failed-url": "/x", "taskqueue-failure": "failed: 500"}
    again = revived(Facts(Message(b"{}", failed | {"taskqueue-runs": 1}), "mail"), WAY, now=NOW).message
    assert again.headers == failed | {"taskqueue-due": 1_764_074_365_500, "taskqueue-replays": 1}


@pytest.mark.parametrize(
    ("reason", "earliest", "due"),
    [
        ("failed", None, NOW),
        ("cancelled", None, NOW + 100),
        ("failed", NOW + 7, NOW + 7),
        ("cancelled", NOW + 7, NOW + 100),
        ("cancelled", NOW + 107, NOW + 107),
    ],
)
def test_a_replayed_task_is_due_at_once_or_in_its_turn_or_when_it_was_before_it_was_cancelled(
    reason: str, earliest: float | None, due: float
) -> None:
    """What is later counts; the ladder holds it until then. How often it was replayed is counted."""
    headers = {"taskqueue-reason": reason, "taskqueue-due": int((NOW + 100) * 1000), "taskqueue-replays": 3}
    again = revived(Facts(Message(b"{}", headers), "mail"), WAY, now=NOW, earliest=earliest)
    assert again.message.headers == {"taskqueue-due": int(due * 1000), "taskqueue-replays": 4}
    assert (again.exchange, again.routing_keys) == WAY.route(int(due * 1000), NOW)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:SECRET@h/x", "http://h/x"),
        (" http://u:SECRET@h/x", "http://h/x"),
        ("//u:SECRET@h/x", "//h/x"),
        ("http:///u:SECRET@h/x", "http://h/x"),
        ("/users/@me", "/users/@me"),
    ],
)
def test_a_url_is_shown_without_its_login(url: str, shown: str) -> None:
    """However wrong it is; a path keeps what it holds."""
    assert dead_task(Message(json.dumps({"url": url}).encode()), "mail").url == shown
