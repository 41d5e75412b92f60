"""An application is tested without a broker: what it sends is checked as ever, kept, and can be run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskqueue import AsyncClient, Client, ConfigError, InvalidTask
from taskqueue.testing import RecordingClient, recording

pytest_plugins = ["taskqueue.testing.plugin"]
NOBODY = "amqp://127.0.0.1:9/"
application = Client(NOBODY)
"""That of the application, made where it is imported."""


def test_what_any_client_sends_is_there_for_the_test(taskqueue_client: RecordingClient) -> None:
    """However it was made, and for asyncio too."""
    first = application.send("/welcome", {"user": 7}, queue="mail", countdown=timedelta(minutes=5))
    second = asyncio.run(AsyncClient(NOBODY).send("/sorry", id="mine"))
    assert [task.id for task in taskqueue_client.sent] == [first, second]
    task = taskqueue_client.assert_sent(url="/welcome", queue="mail")
    assert (task.payload, task.fields["countdown"]) == ({"user": 7}, 300)
    assert task.due == pytest.approx(datetime.now(UTC).timestamp() + 300, abs=60)
    assert taskqueue_client.assert_sent("/sorry").id == "mine"


def test_after_the_block_clients_are_as_they_were() -> None:
    """Nothing is left of it."""
    before = type(application._producer).sender
    with recording() as client:
        application.send("/x")
    assert type(application._producer).sender is before
    assert len(client.sent) == 1


def test_what_is_asked_for_may_be_any_argument_of_send(taskqueue_client: RecordingClient) -> None:
    """As it was given: times of Python, tuples, nothing."""
    eta = datetime(2030, 1, 1, tzinfo=UTC)
    application.send("/x", payload={"a": (1, 2)}, eta=eta, max_retries=3, metadata={"method": "PUT"})
    application.send("/y", payload=None)
    taskqueue_client.assert_sent(payload={"a": [1, 2]})
    taskqueue_client.assert_sent("/x", payload={"a": (1, 2)}, eta=eta, max_retries=3)
    taskqueue_client.assert_sent(url="/y", payload=None)
    taskqueue_client.assert_sent()
    for wrong in (
        {"url": "/z"},
        {"queue": "mail"},
        {"eta": 5},
        {"url": "/y", "payload": {}},
        {"max_retries": 4},
    ):
        with pytest.raises(AssertionError, match="no task was sent with"):
            taskqueue_client.assert_sent(**wrong)
    with pytest.raises(TypeError, match="send takes no delay"):
        taskqueue_client.assert_sent(delay=3)


def test_a_failed_assertion_says_what_was_sent(taskqueue_client: RecordingClient) -> None:
    """And that nothing was, where it is so."""
    with pytest.raises(AssertionError, match=r"^no task was sent with url='/x'; nothing was sent$"):
        taskqueue_client.assert_sent("/x")
    taskqueue_client.assert_nothing_sent()
    application.send("/y", queue="mail")
    with pytest.raises(AssertionError, match=r"(?s)with url='/x', queue='mail'; sent were:\n  mail /y "):
        taskqueue_client.assert_sent("/x", "mail")
    with pytest.raises(AssertionError, match=r"sent were:\n  mail /y "):
        taskqueue_client.assert_nothing_sent()


WRONG: list[dict[str, Any]] = [
    {"url": "ftp://x/"},
    {"url": None},
    {"countdown": -1},
    {"eta": datetime(2030, 1, 1)},  # noqa: DTZ001
    {"payload": float("nan")},
    {"priority": 256},
    {"id": "x" * 256},
    {"queue": "é" * 128},
    {"queue": ""},
    {"metadata": {"method": "HEAD"}},
]


@pytest.mark.parametrize("fields", WRONG)
def test_it_refuses_what_the_real_client_refuses(fields: dict[str, Any]) -> None:
    """In the same words, and before anything is sent."""
    task = {"url": "/x", **fields}
    with Client(NOBODY) as real, pytest.raises(InvalidTask) as expected:
        real.send_many([task])
    client = RecordingClient()
    with pytest.raises(InvalidTask) as caught:
        client.send_many([task])
    assert str(caught.value) == str(expected.value)
    client.assert_nothing_sent()


def test_its_queues_are_those_of_the_ini(tmp_path: Path) -> None:
    """A queue that is in no section is refused, and one on a shared ladder is told by its own name."""
    path = tmp_path / "taskqueue.ini"
    path.write_text("[mail]\nladder = shared\n[plain]\n")
    client = RecordingClient.from_config(path)
    with pytest.raises(ConfigError, match="queue 'default' is in no section"):
        client.send("/x")
    for countdown in (None, 20, 3.7):
        client.send("/x", queue="mail", countdown=countdown)
        client.send("/x", queue="plain", countdown=countdown)
    assert [task.queue for task in client.sent] == ["mail", "plain"] * 3
