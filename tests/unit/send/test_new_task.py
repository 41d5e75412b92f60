"""The fields of a task that is to be sent are named in one place, and checked as those of any message."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

from taskqueue import Client, InvalidTask
from taskqueue.send.new_task import NewTask
from taskqueue.settings import Settings

NOBODY = "amqp://127.0.0.1:9/"
NOW = 1_790_000_000.0
WAY = Settings().way("mail")


def test_send_takes_the_fields_of_a_new_task() -> None:
    """In the same order: there is no second list of them."""
    given = [*inspect.signature(Client.send).parameters][1:]
    assert given == [field.name for field in fields(NewTask)]


@pytest.mark.parametrize("names", [{"delay": 3}, {"delay": 3, "body": {}}])
def test_a_name_that_there_is_not_is_refused(names: dict[str, Any]) -> None:
    """By both ways to send, in the same words."""
    words = f"^send takes no {', '.join(sorted(names))}$"
    with Client(NOBODY) as client:
        with pytest.raises(TypeError, match=words):
            client.send("/x", **names)
        with pytest.raises(TypeError, match=words):
            client.send_many([{"url": "/x", **names}])


def test_a_task_without_a_url_is_refused_as_a_message_is() -> None:
    """With the name of the field."""
    with Client(NOBODY) as client, pytest.raises(InvalidTask, match=r"^url: is missing$"):
        client.send_many([{"payload": 1}])


def test_what_is_given_is_what_is_in_the_message() -> None:
    """And nothing else: null is a payload, and what is not given is not written."""
    task = NewTask("/x", "mail", payload=None, countdown=20, id="mine", priority=4, headers={"a": "b"})
    publish = task.publish(WAY, NOW)
    assert json.loads(publish.message.body) == {"url": "/x", "payload": None, "countdown": 20}
    assert publish.message.properties["message_id"] == "mine"
    assert publish.message.properties["priority"] == 4
    assert publish.message.headers["a"] == "b"
    assert publish.message.headers["taskqueue-due"] == (NOW + 20) * 1000
    assert publish.routing_keys[0] == "in>20s"


def test_no_credentials_are_in_its_repr() -> None:
    """A task is logged sooner or later, and tokens stand in payload, metadata and headers."""
    secret = {"Authorization": "hunter2"}
    task = NewTask("/x", payload=secret, metadata={"headers": secret}, headers=secret)
    assert "hunter2" not in repr(task)
