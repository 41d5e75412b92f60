"""Receivers that take long, for ever, or answer without end, under a consumer that really runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sandbox.broker import Server
from sandbox.peer import Peer, Script, Visit, answering
from sandbox.receiver import Answer, Receiver
from tests.support.stage import Process, Stage, eventually

TIMEOUT = 6.0
SLACK = 20.0
"""Seconds that a busy machine may take beside the timeout."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
LONGEST = 8 * 2**20
"""Bytes after which even what lies in the buffers of both sockets has been sent."""


def never(visit: Visit) -> None:
    """Read the request, and say nothing."""
    visit.read()
    visit.until_closed()


def drip(visit: Visit) -> None:
    """Send a byte a second, which no timeout of a single read ever meets."""
    visit.read()
    for byte in HEAD:
        if visit.peer.stopped.wait(1):
            return
        visit.send(bytes((byte,)))


@pytest.mark.parametrize("script", [never, drip])
def test_a_receiver_that_never_finishes_is_left_at_the_timeout_and_blocks_nobody(
    script: Script, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """The attempt fails after `timeout`; tasks beside it on another thread run at once."""
    stage = staged(timeout=TIMEOUT, retry_limit=1, concurrency=2)
    with Peer(script) as peer:
        stage.run()
        stage.publish({"url": peer.url})
        eventually(lambda: bool(peer.requests), "the request made")
        begin = time.monotonic()
        stage.publish({"url": "/quick"})
        receiver.wait_for(1, path="/quick")
        assert time.monotonic() - begin < TIMEOUT
        ((headers, _, _),) = stage.dead()
        assert time.monotonic() - begin < TIMEOUT + SLACK
    assert headers["taskqueue-error"].startswith(f"timed out after {TIMEOUT:g} s")
    stage.settle()


def test_an_answer_of_a_gigabyte_is_left_early_and_its_status_counts(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """What is beyond the bound is never taken: the connection is closed, and the next task runs."""
    sent = 0

    def gigabyte(visit: Visit) -> None:
        nonlocal sent
        visit.read()
        visit.send(HEAD)
        while sent < 2**30:
            visit.send(bytes(2**16))
            sent += 2**16

    stage = staged(timeout=30, concurrency=1)
    with Peer(gigabyte) as peer:
        process = stage.run()
        stage.publish({"url": peer.url})
        eventually(lambda: bool(peer.requests), "the request made")
        # Behind it, on the only thread
        stage.publish({"url": "/next"})
        receiver.wait_for(1, timeout=TIMEOUT + SLACK, path="/next")
        stage.settle()
    assert len(peer.requests) == 1
    assert sent < LONGEST
    assert "Traceback" not in process.log


def test_a_request_longer_than_the_heartbeat_leaves_the_connection_alone(
    broker: Server, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Three heartbeats without an answer: the broker still gets ours, and the task runs exactly once."""
    stage = staged(f"{broker.url}?heartbeat=2", timeout=30)
    receiver.answer("/long", Answer(delay=7))
    process = stage.run()
    stage.publish({"url": "/long"})
    receiver.wait_for(1, path="/long")
    # A graceful stop waits for the answer and acks it: a lost connection could not.
    process.stop()
    assert "connection lost" not in process.log
    assert len(receiver.to("/long")) == 1
    assert stage.depth() == 0


def test_a_stop_is_over_in_time_while_no_receiver_answers(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """After its grace the consumer leaves every request; the tasks are still there and run elsewhere."""
    stage = staged(timeout=60, concurrency=3)
    release = threading.Event()
    with Peer(lambda visit: _until(release, visit)) as peer:
        process = stage.run("--grace", "1")
        for _ in range(3):
            stage.publish({"url": peer.url})
        eventually(lambda: len(peer.requests) == 3, "every thread in a request")
        assert _seconds_to_stop(process) < 1 + 2 * SLACK
        eventually(lambda: stage.depth() == 3, "every task back in the queue")
        release.set()
        stage.run()
        eventually(lambda: len(peer.requests) == 6, "every task run again")
        stage.settle()
    assert not receiver.requests


def _until(release: threading.Event, visit: Visit) -> None:
    if release.is_set():
        answering()(visit)
    else:
        never(visit)


def _seconds_to_stop(process: Process) -> float:
    begin = time.monotonic()
    process.stop()
    return time.monotonic() - begin
