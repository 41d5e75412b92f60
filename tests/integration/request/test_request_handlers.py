"""Handlers in a real exchange: what they change is sent, what they judge counts."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sandbox.attempt import executing, headers
from sandbox.peer import Peer, answering
from taskqueue.handlers import Answer, Handler, Request, Verdict
from taskqueue.task.decode import Task

HERE = f"{__name__}:"


class Broken(Handler):
    """Fails at everything."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Fail before the request."""
        if task.metadata.get("prepare"):
            raise KeyError("prepare")
        return request

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Fail after the answer."""
        raise ValueError(f"judge\n{task.id} {answer.status}")


class Leaving(Handler):
    """Ends its thread, as a script does that was made into a handler."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Exit, or raise what asyncio raises, which is no Exception either."""
        del request
        raise SystemExit(3) if task.metadata else asyncio.CancelledError


class Forging(Handler):
    """Changes what is not its own."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Claim to be another task."""
        del task
        return request.with_headers({"Taskqueue-Id": "other"})


class Reading(Handler):
    """Decides by the body."""

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Take `no` for a failure, `never` for a permanent one, `yes` for a success."""
        del task
        assert answer.headers["x-twice"] == "1, 2"
        assert answer.whole
        return {
            b"no": Verdict("said no"),
            b"never": Verdict("said never", permanent=True),
            b"yes": Verdict(),
        }.get(answer.body)


def answer(status: int, body: bytes) -> bytes:
    """Write an answer."""
    head = f"HTTP/1.1 {status} x\r\nX-Twice: 1\r\nx-twice: 2\r\nRetry-After: 7\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_metadata_change_method_and_headers() -> None:
    """The built-in handler is there without any setting."""
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url, metadata={"method": "GET", "headers": {"X-A": "b"}}).status == 200
    (request,) = peer.requests
    assert request.startswith(b"GET / HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n")
    sent = headers(request)
    assert sent["x-a"] == "b"
    assert not {"content-length", "content-type", "transfer-encoding"} & set(sent)


def test_metadata_may_ask_for_another_kind_of_answer() -> None:
    """An Accept of the task's own stands in place of ours."""
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url, metadata={"headers": {"accept": "application/json"}}).status == 200
        assert run(peer.url).status == 200
    assert peer.requests[0].lower().count(b"\r\naccept:") == 1
    assert [headers(each)["accept"] for each in peer.requests] == ["application/json", "*/*"]


def test_a_failing_handler_fails_the_attempt_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An exception before or after the request is an error with the handler's name."""
    broken = executing(handlers=(HERE + "Broken",))
    with Peer(answering(answer(200, b"ok"))) as peer, broken as run, caplog.at_level(logging.CRITICAL):
        before = run(peer.url, metadata={"prepare": True})
        after = run(peer.url)
    assert (before.status, before.error) == (None, f"handler {HERE}Broken: KeyError: 'prepare'")
    assert (after.status, after.error) == (200, f"handler {HERE}Broken: ValueError: judge\\nid-1 200")
    assert after.retry_after == "7"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("metadata", [{"exit": 1}, {}])
def test_a_handler_cannot_end_its_thread(metadata: dict[str, int]) -> None:
    """What is no Exception costs the attempt all the same."""
    with Peer(answering(answer(200, b""))) as peer, executing(handlers=(HERE + "Leaving",)) as attempt:
        result = attempt(peer.url, metadata=metadata)
    assert result.status is None
    assert result.error is not None
    assert result.error.startswith("unexpected ")
    assert peer.requests == []


def test_a_handler_cannot_forge_our_headers() -> None:
    """A request with another id is not made."""
    with Peer(answering()) as peer, executing(handlers=(HERE + "Forging",)) as run:
        result = run(peer.url)
    assert result.error == f"handler {HERE}Forging: headers Taskqueue-… and Idempotency-Key can't be changed"
    assert not peer.requests


@pytest.mark.parametrize(
    ("status", "body", "error", "permanent", "accepted"),
    [
        (200, b"no", "said no", False, False),
        (200, b"never", "said never", True, False),
        (500, b"yes", None, False, True),
        (500, b"other", None, False, False),
    ],
)
def test_a_handler_judges_the_answer(
    status: int, body: bytes, error: str | None, *, permanent: bool, accepted: bool
) -> None:
    """A verdict stands in place of the status; without one the status decides."""
    with Peer(answering(answer(status, body))) as peer, executing(handlers=(HERE + "Reading",)) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (status, error)
    assert (result.permanent, result.accepted) == (permanent, accepted)
