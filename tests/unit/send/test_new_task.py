"""The fields of a task that is to be sent are named in one place, and checked as those of any message."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from taskqueue import BrokerUnreachable, Client, InvalidTask, PublishFailed
from taskqueue.send.new_task import NewTask, taking
from taskqueue.settings import Settings, parse

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


@pytest.mark.parametrize(
    ("times", "written"),
    [
        ({"eta": datetime(2030, 1, 1, tzinfo=UTC)}, {"eta": 1893456000.0}),
        ({"eta": datetime(2030, 1, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))}, {"eta": 1893459600.0}),
        ({"eta": datetime(2030, 1, 1, tzinfo=UTC).astimezone()}, {"eta": 1893456000.0}),
        ({"expires": datetime(2030, 1, 1, tzinfo=UTC)}, {"expires": 1893456000.0}),
        ({"countdown": timedelta(minutes=5, milliseconds=250)}, {"countdown": 300.25}),
        ({"countdown": timedelta(0)}, {"countdown": 0.0}),
    ],
)
def test_times_may_be_those_of_python(times: dict[str, Any], written: dict[str, float]) -> None:
    """In the message they are seconds, as any language writes them."""
    publish = NewTask("/x", "mail", **times).publish(WAY, NOW)
    assert json.loads(publish.message.body) == {"url": "/x", **written}


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"eta": datetime(2030, 1, 1)}, "eta: has no time zone, .*write datetime.now.UTC."),  # noqa: DTZ001
        ({"expires": datetime(2030, 1, 1)}, "expires: has no time zone"),  # noqa: DTZ001
        ({"eta": timedelta(1)}, "eta: is a length of time, .*countdown takes a timedelta"),
        ({"expires": timedelta(1)}, "expires: is a length of time"),
        ({"countdown": datetime(2030, 1, 1, tzinfo=UTC)}, "countdown: is a time, .*eta takes a datetime"),
        ({"countdown": timedelta(-1)}, "countdown: must be from 0"),
        ({"eta": datetime(1960, 1, 1, tzinfo=UTC)}, "eta: must be from 0"),
        ({"eta": date(2030, 1, 1)}, "eta: must be a number of seconds, got date"),
        ({"eta": "tomorrow"}, "eta: must be a number of seconds, got 'tomorrow'"),
        ({"countdown": True}, "countdown: must be a number of seconds, got True"),
        (
            {"eta": datetime(2030, 1, 1, tzinfo=UTC), "countdown": timedelta(1)},
            "eta: goes without countdown",
        ),
    ],
)
def test_a_time_that_nobody_can_tell_is_refused_with_the_remedy(times: dict[str, Any], words: str) -> None:
    """A naive datetime above all: it would run hours early or late on another machine."""
    with Client(NOBODY) as client, pytest.raises(InvalidTask, match=f"^{words}"):
        client.send("/x", **times)


@pytest.mark.parametrize("payload", [{"a": 1}, [1, 2], {}, []])
def test_a_payload_may_stand_in_second_place(payload: Any) -> None:
    """As with other queues; a text there is the name of the queue."""
    assert taken("/x", payload) == NewTask("/x", payload=payload)
    assert taken("/x", payload, queue="mail") == NewTask("/x", "mail", payload=payload)
    assert taken("/x", "mail", payload=payload) == NewTask("/x", "mail", payload=payload)


@pytest.mark.parametrize("given", [("/x", {"a": 1}, "mail"), ("/x", "mail", {"a": 1})])
def test_no_more_than_two_arguments_have_no_name(given: tuple[Any, ...]) -> None:
    """Nobody has to remember the order of twelve."""
    with pytest.raises(TypeError, match="positional argument"):
        taken(*given)


def test_two_payloads_are_refused() -> None:
    """One of them would be lost."""
    with Client(NOBODY) as client, pytest.raises(InvalidTask, match=r"^queue: must be a text"):
        client.send("/x", {"a": 1}, payload=2)


@pytest.mark.parametrize(("method", "got"), [("HEAD", "'HEAD'"), (5, "int"), ("", "''"), (["PUT"], "list")])
def test_a_method_that_there_is_not_is_refused_at_the_call(method: Any, got: str) -> None:
    """The consumer could only put the task among the dead, where its author does not look."""
    words = f"^metadata.method: must be one of GET, POST, PUT, PATCH, DELETE, got {got}$"
    with Client(NOBODY) as client, pytest.raises(InvalidTask, match=words):
        client.send("/x", metadata={"method": method})


def test_a_queue_with_other_handlers_may_have_methods_of_its_own() -> None:
    """What `metadata` hold is for its handlers to judge."""
    text = "server = amqp://127.0.0.1:9/\n[mail]\nhandlers = partner\n"
    settings = parse(text, source="test", environ={}, sending=True)
    with Client(settings=settings, timeout=0.01) as client, pytest.raises((PublishFailed, BrokerUnreachable)):
        client.send("/x", "mail", metadata={"method": "STAMP"})


def taken(*given: Any, **named: Any) -> NewTask:
    """Give what a method of many fields gets to see."""
    return _Taker().send(*given, **named)


class _Taker:
    @taking(NewTask)
    def send(self, task: NewTask) -> NewTask:
        return task
