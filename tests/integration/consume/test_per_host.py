"""per_host and concurrency, counted at the receiver."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from sandbox.attempt import executing
from sandbox.peer import OK, Peer, Visit
from sandbox.receiver import Answer, Receiver, Request
from taskqueue.request import per_host
from taskqueue.request.per_host import LONGEST_AWAY, LONGEST_WAIT, SHORTEST_AWAY, Crowd
from tests.support.stage import Stage


class Gauge:
    """A path's script: answers after `seconds`, and counts how many are there at once, by host."""

    def __init__(self, receiver: Receiver, seconds: float) -> None:
        self._receiver = receiver
        self._seconds = seconds
        self._lock = threading.Lock()
        self._now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def __call__(self, request: Request) -> Answer:
        """Stay for a while."""
        host = request.headers["Host"].partition(":")[0]
        with self._lock:
            self._now[host] = self._now.get(host, 0) + 1
            self.most[host] = max(self.most.get(host, 0), self._now[host])
        self._receiver.closing.wait(self._seconds)
        with self._lock:
            self._now[host] -= 1
        return Answer()


def test_no_host_gets_more_than_its_share_and_none_waits_for_another(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """A flood for a slow host runs two at a time, all of it, while tasks for another pass by it."""
    gauge = Gauge(receiver, 0.25)
    receiver.answer("/slow", gauge)
    stage = staged(concurrency=8, per_host=2)
    stage.consume()
    quick = receiver.url.replace("127.0.0.1", "localhost")
    with stage.client() as client:
        client.send_many({"url": "/slow", "queue": stage.name} for _ in range(40))
        client.send_many({"url": f"{quick}/quick", "queue": stage.name} for _ in range(5))
        receiver.wait_for(5, path="/quick")
        slow_by_then = len(receiver.to("/slow"))
        receiver.wait_for(40, path="/slow")
    stage.settle()
    assert slow_by_then < 30
    assert gauge.most["127.0.0.1"] == 2
    assert len(receiver.to("/slow")) == 40
    # To be sent away is no run, and leaves no trace in the request.
    assert {each.headers["Taskqueue-Attempt"] for each in receiver.requests} == {"1"}
    assert {each.headers["Taskqueue-Previous-Error"] for each in receiver.requests} == {None}
    first, last = receiver.to("/slow")[0].at, receiver.to("/slow")[-1].at
    # 40 requests of a quarter of a second, two at a time: 5 s where no place stays empty, and no broker is
    # late with those that were sent away.
    assert 4.5 < last - first < 30


def test_a_task_without_room_says_when_to_come_back() -> None:
    """Its thread is free again in half a second, though the host is held for long."""
    release = threading.Event()
    arrived = threading.Semaphore(0)

    def hold(visit: Visit) -> None:
        while visit.read():
            arrived.release()
            release.wait(60)
            visit.send(OK)

    with Peer(hold) as peer, executing(per_host=1, concurrency=8) as run, ThreadPoolExecutor(8) as threads:
        first = threads.submit(run, peer.url)
        assert arrived.acquire(timeout=60)
        start = monotonic()
        others = [each.result() for each in [threads.submit(run, peer.url) for _ in range(5)]]
        assert monotonic() - start < LONGEST_WAIT + 15
        release.set()
        assert first.result().status == 200
        assert run(peer.url).status == 200
    waits = [each.busy for each in others]
    assert all(wait is not None and SHORTEST_AWAY - 0.1 <= wait <= LONGEST_AWAY for wait in waits)
    assert {(each.status, each.error) for each in others} == {(None, None)}
    assert len(peer.requests) == 2


def test_a_place_that_is_freed_is_taken_by_who_waits() -> None:
    """A request that ends within half a second lets the next one in at once."""
    crowd = Crowd(1, wait=10)
    assert crowd.enter("a") is None
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(crowd.enter, "a")
        assert crowd.enter("b") is None
        crowd.leave("a", 0.1)
        assert waiting.result(60) is None


def test_those_who_are_sent_away_come_back_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as the host has worked so far, and never later than in a minute."""
    monkeypatch.setattr(per_host, "monotonic", lambda: 1000.0)
    crowd = Crowd(2, wait=0)
    for _ in range(100):
        crowd.enter("a")
        crowd.leave("a", 1.0)
    assert [crowd.enter("a"), crowd.enter("a")] == [None, None]
    turns = [crowd.enter("a") or 0.0 for _ in range(200)]
    assert turns[0] == pytest.approx(SHORTEST_AWAY, abs=0.1)
    assert [turns[n + 1] - turns[n] for n in range(50)] == pytest.approx([0.5] * 50, abs=0.1)
    assert turns[-1] == pytest.approx(LONGEST_AWAY, abs=0.1)
    assert crowd.enter("b") is None


def test_a_failed_request_gives_its_place_back() -> None:
    """Whatever happens in it."""
    with executing(per_host=1) as run:
        results = [run("http://127.0.0.1:1/") for _ in range(3)]
        assert {each.error for each in results} == {"connection refused: 127.0.0.1:1"}
        assert run("http://no host/").busy is None


def test_many_hosts_are_forgotten_again() -> None:
    """What is kept of hosts that nobody asks now is bounded."""
    crowd = Crowd(1, wait=0)
    for number in range(3000):
        assert crowd.enter(str(number)) is None
        crowd.leave(str(number), 0.1)
    assert len(crowd._hosts) <= 1000


def test_a_2xx_that_counts_as_a_failure_is_told_once_per_host(
    staged: Callable[..., Stage], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """With the host and the key that would make it a success."""
    stage = staged()
    for path in ("/a", "/b"):
        receiver.answer(path, 202)
    other = receiver.url.replace("127.0.0.1", "localhost")
    with caplog.at_level(logging.WARNING):
        stage.consume()
        for url in ("/a", "/b", f"{other}/a"):
            stage.send(url, max_retries=2)
        stage.dead(3)
        stage.stop()
    told = sorted(each.getMessage() for each in caplog.records if "success_status" in each.getMessage())
    assert told == [
        f"{stage.name}: status 202 of {host} counts as a failure: see success_status of [{stage.name}]"
        for host in ("127.0.0.1", "localhost")
    ]
