"""What AMQP can't carry is refused where it is given, with the name of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from taskqueue import Client, ConfigError, InvalidTask

NOBODY = "amqp://127.0.0.1:9/"


@pytest.mark.parametrize("countdown", [None, 20])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"queue": "x" * 300}, "queue: name is too long: 30"),
        ({"queue": "é" * 128}, "queue: name is too long: 2"),
        ({"queue": "\udcff"}, "queue: must be Unicode, got '\\udcff"),
        ({"priority": 256}, "priority: must be a whole number from 0 to 255, got 256"),
        ({"priority": -1}, "priority: must be a whole number from 0 to 255, got -1"),
        ({"priority": "5"}, "priority: must be a whole number from 0 to 255, got '5'"),
        ({"priority": True}, "priority: must be a whole number from 0 to 255, got True"),
        ({"priority": 1.0}, "priority: must be a whole number from 0 to 255, got 1.0"),
    ],
)
def test_a_queue_or_a_priority_that_can_not_be_is_refused(
    fields: dict[str, Any], words: str, countdown: float | None
) -> None:
    """Before anything is sent, and not as headers that can't be encoded."""
    with Client(NOBODY) as client, pytest.raises(InvalidTask) as caught:
        client.send("/x", countdown=countdown, **fields)
    assert words in str(caught.value)


@pytest.mark.parametrize("queue", ["", None, 5, b"q", ["q"]])
def test_a_queue_that_is_no_text_is_refused(queue: Any) -> None:
    """As by every other field."""
    with Client(NOBODY) as client, pytest.raises(InvalidTask, match=r"^queue: must be a text"):
        client.send("/x", queue=queue)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("amqp://me:hunter2@localhost//", "// at its end is how Celery writes"),
        ("amqp://localhost, pyamqp://me:hunter2@localhost", "pyamqp:// is Celery's name for it"),
        ("amqp://me:hunter2@localhost/?hearbeat=5", "hearbeat is not a parameter"),
        ("amqp://me:hunter2@localhost:port", "must be amqp://"),
        ("localhost", "must be amqp://"),
        ("", "must be amqp://"),
    ],
)
def test_a_server_that_can_not_be_one_is_refused_as_in_the_ini(server: str, words: str) -> None:
    """Before it connects to anything, and without the password."""
    with pytest.raises(ConfigError) as caught:
        Client(server)
    assert str(caught.value).startswith("server: ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
