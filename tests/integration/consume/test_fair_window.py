"""What a busy consumer holds is no more than it runs: an idle one beside it gets its share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox.receiver import Answer, Receiver, Request
from tests.support.stage import PATIENCE, Stage, eventually


def test_a_consumer_that_joins_gets_its_share_of_slow_tasks(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Although the first one was there before any of them."""
    stage = staged(concurrency=1, timeout=600)
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    # Given a consumer that runs the first of six tasks, for long
    stage.consume()
    with stage.client() as client:
        client.send_many({"url": "/slow", "queue": stage.name} for _ in range(6))
    receiver.wait_for(1, timeout=PATIENCE, path="/slow")
    # When another one joins
    stage.consume()
    # Then it runs the next, and what nobody runs is left to whoever comes
    receiver.wait_for(2, timeout=PATIENCE, path="/slow")
    eventually(lambda: stage.depth() == 4, "four are left in the queue")
    release.set()
    receiver.wait_for(6, timeout=PATIENCE, path="/slow")
    stage.settle()


def test_what_a_consumer_took_from_quick_receivers_goes_back_when_they_hang(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Within seconds, without an answer from any of them, and nothing is lost or run twice."""
    stage = staged(concurrency=2, timeout=600)
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    # Given a consumer that has many out, as the first thousand were done at once
    with stage.client() as client:
        urls = ["/quick"] * 1000 + ["/slow"] * 200
        client.send_many({"url": url, "queue": stage.name} for url in urls)
    stage.consume()
    # When the receiver hangs
    receiver.wait_for(2, timeout=PATIENCE, path="/slow")
    # Then what it can't run is in the queue again, for others
    eventually(lambda: stage.depth() >= 190, "what waits is in the queue")
    stage.consume()
    receiver.wait_for(4, timeout=PATIENCE, path="/slow")
    release.set()
    receiver.wait_for(lambda every: len({_id(each) for each in every}) == 1200, timeout=PATIENCE)
    stage.settle()
    assert len(receiver.requests) == 1200


def _id(request: Request) -> str:
    return request.headers["Taskqueue-Id"]
