"""A receiver that asks for no other attempt, traces that pass through, and who answered."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.attempt import a_task, executing, headers
from sandbox.peer import Peer, answering
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, Done, on_result
from taskqueue.task.result import Result

POLICY = QueueSettings("default", jitter=0)


def stopping(status: int, value: str) -> bytes:
    """Write an answer with a Taskqueue-Stop."""
    return f"HTTP/1.1 {status} x\r\ntaskqueue-stop: {value}\r\nContent-Length: 0\r\n\r\n".encode()


def decided(result: Result, policy: QueueSettings = POLICY) -> Any:
    """Decide what becomes of a task after this result."""
    return on_result(a_task("http://a/"), result, policy, now=0, spread=0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no such user", "no such user"),
        ("", "no reason given"),
        ("  ", "no reason given"),
        ("x" * 900, "x" * 200),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
    ],
)
def test_a_receiver_may_ask_for_no_other_attempt(value: str, reason: str) -> None:
    """Taskqueue-Stop on a failure makes the task dead, with its reason bounded and printable."""
    with Peer(answering(stopping(500, value))) as peer, executing() as run:
        result = run(peer.url)
    assert result.stop == reason
    assert decided(result) == Dead("failed", f"status 500, stopped by the receiver: {reason}", 1)


def test_a_success_is_a_success_whatever_else_it_says() -> None:
    """Taskqueue-Stop is about attempts that failed."""
    with Peer(answering(stopping(200, "enough"))) as peer, executing() as run:
        assert decided(run(peer.url)) == Done()


def test_a_410_is_retried_unless_the_ini_says_otherwise() -> None:
    """Only 200 means anything by default: a deployment in progress answers with all sorts of statuses."""
    with Peer(answering(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")) as peer, executing() as run:
        result = run(peer.url)
    assert isinstance(decided(result), Again)
    gone = QueueSettings("default", permanent_status=frozenset({410}))
    assert decided(result, gone) == Dead("failed", "status 410", 1)


def test_a_result_names_who_answered() -> None:
    """The host, so that it can be told which one answers 201."""
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url).host == "127.0.0.1"
        assert run("http://127.0.0.1:1/").host is None


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_passes_through() -> None:
    """Traceparent and tracestate of the message are the request's."""
    with Peer(answering()) as peer, executing() as run:
        run(peer.url, traceparent=PARENT, tracestate="a=1,b=2")
        run(peer.url, traceparent=PARENT)
        run(peer.url, tracestate="a=1")
    sent = [{k: v for k, v in headers(each).items() if "trace" in k} for each in peer.requests]
    assert sent == [{"traceparent": PARENT, "tracestate": "a=1,b=2"}, {"traceparent": PARENT}, {}]
