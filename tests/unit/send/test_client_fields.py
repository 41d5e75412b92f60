"""What AMQP can't carry is refused where it is given, with the name of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from taskqueue import Client, InvalidTask

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
