"""What follows from a success: tasks of their own, in the broker before the ack."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from sandbox.receiver import Answer, Receiver
from taskqueue.handlers import Answer as Answered
from taskqueue.handlers import FollowUp, Handler
from taskqueue.task.decode import Task
from tests.support.stage import Stage


@pytest.fixture
def calling(staged: Callable[..., Stage]) -> Stage:
    """Give a queue with the handler callback."""
    return staged(handlers="headers, callback")


def test_a_success_calls_the_url_that_waits_for_it(calling: Stage, receiver: Receiver) -> None:
    """The callback gets the answer, under an id that follows from the task's, after a retry too."""
    answer = Answer(200, headers={"Content-Type": "text/plain; charset=utf-8"}, body="ünï".encode())
    receiver.answer("/pay", [500, answer])
    calling.consume()
    task = calling.send("/pay", metadata={"on_success": "/paid"}, headers={"x-mine": "kept"})
    (told,) = receiver.wait_for(1, path="/paid")
    assert told.json == {
        "id": task, "url": "/pay", "attempt": 2, "status": 200, "body": "ünï", "truncated": False,
        "content_type": "text/plain; charset=utf-8",
    }  # fmt: skip
    assert told.headers["Taskqueue-Id"] == f"{task}.on_success"
    assert told.headers["Taskqueue-Attempt"] == "1"
    calling.settle()
    assert len(receiver.requests) == 3


def test_a_callback_is_a_task_of_its_own(calling: Stage, receiver: Receiver) -> None:
    """It is retried, has its own max_retries and metadata, and may have a callback itself."""
    receiver.answer("/second", [500, 200])
    calling.consume()
    chain = {
        "url": "/second",
        "max_retries": 2,
        "metadata": {"method": "PUT", "headers": {"X-A": "b"}, "on_success": "/third"},
    }
    task = calling.send("/first", metadata={"on_success": chain, "headers": {"Authorization": "first's own"}})
    receiver.wait_for(1, path="/third")
    tries = receiver.to("/second")
    assert [each.headers["Taskqueue-Attempt"] for each in tries] == ["1", "2"]
    assert {(each.method, each.headers["X-A"], each.headers["Authorization"]) for each in tries} == {
        ("PUT", "b", None)
    }
    (third,) = receiver.to("/third")
    assert third.headers["Taskqueue-Id"] == f"{task}.on_success.on_success"
    assert third.json["attempt"] == 2
    calling.settle()


@pytest.mark.parametrize("body", [b"\xff\xfe", "é".encode() * 40_000])
def test_a_callback_tells_of_any_body(calling: Stage, receiver: Receiver, body: bytes) -> None:
    """What is no text is base64, and what is long is cut after 64 KiB and said to be."""
    receiver.answer("/x", Answer(200, body=body))
    calling.consume()
    calling.send("/x", metadata={"on_success": "/told"})
    told = receiver.wait_for(1, path="/told")[0].json
    if len(body) < 10:
        assert (told["body"], told["body_base64"], told["truncated"]) == (None, "//4=", False)
    else:
        assert (told["body"], told["truncated"]) == ("é" * 32_768, True)


def test_a_failure_calls_nothing(calling: Stage, receiver: Receiver) -> None:
    """Neither an attempt that failed nor a task that is dead has an on_success, nor has its roll_back."""
    receiver.answer("/x", 500)
    calling.consume()
    calling.send("/x", max_retries=2, roll_back="/undo", metadata={"on_success": "/told"})
    calling.dead()
    receiver.wait_for(1, path="/undo")
    calling.settle()
    assert not receiver.to("/told")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("gopher://x/", "on_success: url: must have the scheme http or https"),
        (7, "on_success: url: must be a path or an http(s) URL"),
        ({}, "on_success: must be a URL, or an object of max_retries, metadata, url"),
        ({"url": "/x", "countdown": 5}, "must be a URL, or an object of"),
        ({"url": "/x", "max_retries": -1}, "max_retries: must be a whole number"),
    ],
)
def test_a_callback_that_cannot_be_called_is_told_before_the_request(
    calling: Stage, receiver: Receiver, wanted: object, words: str
) -> None:
    """What nobody could tell of is not done."""
    calling.consume()
    calling.publish({"url": "/x", "roll_back": "/undo", "metadata": {"on_success": wanted}})
    ((headers, _, _),) = calling.dead()
    assert headers["taskqueue-reason"] == "invalid"
    assert words in headers["taskqueue-error"]
    assert not receiver.requests


def test_without_the_handler_metadata_is_data(stage: Stage, receiver: Receiver) -> None:
    """A queue whose ini does not name callback makes none."""
    stage.consume()
    stage.send("/x", metadata={"on_success": "/told"})
    receiver.wait_for(1, path="/x")
    stage.settle()
    assert len(receiver.requests) == 1


class Fan(Handler):
    """Follows with what the answer asks for."""

    def follow(self, answer: Answered, task: Task) -> Sequence[FollowUp]:
        """Give the follow-ups whose names are in the answer."""
        del task
        names = json.loads(answer.body)
        return [FollowUp(name, f"/{name}", payload={"n": name}) for name in names]


def test_a_handler_of_ones_own_may_send_several(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """Each is confirmed before the ack, and has an id of its own."""
    stage = staged(handlers=f"{__name__}:Fan")
    receiver.answer("/x", Answer(200, body=b'["a", "b", "c"]'))
    for path in ("/a", "/b", "/c"):
        receiver.answer(path, Answer(200, body=b"[]"))
    stage.consume()
    task = stage.send("/x")
    receiver.wait_for(4)
    stage.settle()
    found = {(each.path, each.headers["Taskqueue-Id"], each.body) for each in receiver.requests[1:]}
    assert found == {(f"/{n}", f"{task}.{n}", b'{"n":"%s"}' % n.encode()) for n in "abc"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no json", "JSONDecodeError"),
        (b'["a", "a"]', "two follow-ups have the id"),
        (b'[""]', "each with a name"),
        (b'[" "]', "url: must hold no space"),
        (json.dumps([str(n) for n in range(101)]).encode(), "more than 100 follow-ups"),
    ],
)
def test_a_follow_up_that_cannot_be_sent_fails_the_attempt(
    staged: Callable[..., Stage], receiver: Receiver, body: bytes, words: str
) -> None:
    """The task runs again: a success that nobody is told of is none."""
    stage = staged(handlers=f"{__name__}:Fan")
    receiver.answer("/x", Answer(200, body=body))
    stage.consume()
    stage.send("/x", max_retries=2)
    ((headers, _, _),) = stage.dead()
    assert f"handler {__name__}:Fan: " in headers["taskqueue-error"]
    assert words in headers["taskqueue-error"]
    assert len(receiver.requests) == 2


def test_a_callback_is_there_when_its_consumer_is_killed(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Killed at any moment, a task that was done has its callback called at least once."""
    stage = staged(handlers="callback", concurrency=8)
    with stage.client() as client:
        tasks = client.send_many(
            {"url": "/x", "queue": stage.name, "metadata": {"on_success": "/told"}} for _ in range(60)
        )
    for count in (10, 25):
        process = stage.run()
        receiver.wait_for(count, path="/x")
        process.kill()
    stage.run()
    wanted = {f"{task}.on_success" for task in tasks}
    receiver.wait_for(
        lambda requests: wanted <= {each.headers["Taskqueue-Id"] for each in requests}, path="/told"
    )
    stage.settle()
