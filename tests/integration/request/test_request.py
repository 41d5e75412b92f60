"""A request over real sockets: what is sent, what is read, how connections are kept."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from urllib3 import HTTPConnectionPool, PoolManager

from sandbox.attempt import executing, headers
from sandbox.peer import OK, Peer, Script, Visit, answering
from taskqueue.request.http.transport import Transport
from taskqueue.task.decode import Failed


def test_posts_the_content_with_the_headers_of_a_first_attempt() -> None:
    """A task is a POST of its content, and tells its id, queue, attempt and due time."""
    with Peer(answering()) as peer, executing() as run:
        result = run(f"{peer.url}/hook?a=1#x")
    assert (result.status, result.error, result.retry_after) == (200, None, None)
    assert 0 < result.seconds < 15
    (request,) = peer.requests
    assert request.startswith(b"POST /hook?a=1 HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"a":1}')
    sent = headers(request)
    assert re.fullmatch(r"taskqueue/\S+", sent.pop("user-agent"))
    assert sent == {
        "host": f"127.0.0.1:{peer.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": "7",
        "content-type": "application/json",
        "taskqueue-id": "id-1",
        "idempotency-key": "id-1",
        "taskqueue-queue": "default",
        "taskqueue-attempt": "1",
        "taskqueue-due": "1700000000.123",
    }


def test_a_retry_tells_its_attempt_and_the_previous_error() -> None:
    """The second attempt says that it is one, and why the first failed."""
    with Peer(answering()) as peer, executing() as run:
        run(peer.url, runs=1, error="status 503\r\nEvil: ü")
    sent = headers(peer.requests[0])
    assert sent["taskqueue-attempt"] == "2"
    assert sent["taskqueue-previous-error"] == "status 503%0D%0AEvil: %C3%BC"
    assert "evil" not in sent


def test_a_roll_back_tells_which_task_failed_and_why() -> None:
    """A roll_back's request names the failed task's id, URL and failure."""
    failed = Failed("id-0", "https://example.com/ü", "status 500")
    with Peer(answering()) as peer, executing() as run:
        run(peer.url, failed=failed)
    sent = headers(peer.requests[0])
    assert sent["taskqueue-failed-id"] == "id-0"
    assert sent["taskqueue-failed-url"] == "https://example.com/%C3%BC"
    assert sent["taskqueue-failure"] == "status 500"


def test_joins_a_path_to_the_base_url() -> None:
    """A path stands below the base_url, whatever it looks like."""
    with Peer(answering()) as peer, executing(base_url=f"{peer.url}/v1/") as run:
        for path in ("/a", "b?c=1", "//evil.example/x", "@evil.example/y"):
            assert run(path).status == 200
    targets = [request.split(b" ")[1] for request in peer.requests]
    assert targets == [b"/v1/a", b"/v1/b?c=1", b"/v1//evil.example/x", b"/v1/@evil.example/y"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 302 x\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200),
    ],
)
def test_reads_an_answer_and_uses_the_connection_again(answer: bytes, status: int) -> None:
    """Every complete answer gives its status, and leaves a connection for the next request."""
    with Peer(answering(answer)) as peer, executing() as run:
        results = [run(peer.url) for _ in range(3)]
    assert [(each.status, each.error) for each in results] == [(status, None)] * 3
    assert len(peer.visits) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
)
def test_reads_an_answer_that_ends_with_its_connection(answer: bytes) -> None:
    """An answer that closes the connection is complete, and the next request makes a new one."""

    def once(visit: Visit) -> None:
        visit.read()
        visit.send(answer)

    with Peer(once) as peer, executing() as run:
        assert [run(peer.url).status for _ in range(2)] == [200, 200]
    assert len(peer.visits) == 2


def test_gives_retry_after_as_it_came() -> None:
    """Retry-After is handed on, bounded."""
    value = b"120" + b" " * 500
    with (
        Peer(
            answering(b"HTTP/1.1 429 x\r\nRetry-After: " + value + b"x\r\nContent-Length: 0\r\n\r\n")
        ) as peer,
        executing() as run,
    ):
        result = run(peer.url)
    assert result.status == 429
    assert result.retry_after is not None
    assert result.retry_after.startswith("120 ")
    assert len(result.retry_after) == 100


def test_makes_no_more_connections_than_threads() -> None:
    """Full concurrency over many requests needs one connection a thread, and drops none."""
    with Peer(answering()) as peer, ThreadPoolExecutor(8) as threads, executing(concurrency=8) as run:
        results = list(threads.map(lambda _: run(peer.url), range(400)))
    assert {(each.status, each.error) for each in results} == {(200, None)}
    assert len(peer.visits) <= 8


def test_a_kept_connection_that_was_closed_costs_no_attempt() -> None:
    """Where the receiver closes while the next request is on its way, a new connection carries it."""

    def forgetful(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        visit.read()

    with Peer(forgetful) as peer, executing() as run:
        results = [run(peer.url) for _ in range(3)]
    assert [(each.status, each.error) for each in results] == [(200, None)] * 3
    assert len(peer.visits) == 3
    assert len(peer.requests) == 5


def test_a_new_connection_that_is_closed_is_a_failure() -> None:
    """A receiver that closes a fresh connection without an answer is asked once per attempt."""
    with Peer(lambda visit: visit.read()) as peer, executing() as run:
        result = run(peer.url)
    assert result.status is None
    assert result.error == f"connection closed before an answer: 127.0.0.1:{peer.port}"
    assert len(peer.requests) == 1


def test_a_kept_connection_that_began_to_answer_is_not_tried_again() -> None:
    """Once a byte of an answer has come, the request counts as made."""

    def half(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        visit.read()
        visit.send(b"HTTP/1.1 200")

    with Peer(half) as peer, executing() as run:
        assert run(peer.url).error is None
        assert run(peer.url).error is not None
    assert len(peer.requests) == 2


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next() -> None:
    """What a receiver sends too much never becomes the answer to another task."""
    extra = threading.Event()

    def talkative(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        if visit.number == 0:
            visit.send(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n")
            visit.arrived()
            extra.set()
        while visit.read():
            visit.send(OK)

    with Peer(talkative) as peer, executing() as run:
        first = run(peer.url)
        assert extra.wait(60)
        assert [first.status, run(peer.url).status] == [200, 200]


def test_reads_an_answer_that_comes_before_the_body_was_sent() -> None:
    """A receiver that refuses a large body early is heard."""

    def refuses(visit: Visit) -> None:
        visit.sock.recv(1000)
        visit.send(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        visit.until_closed()

    with Peer(refuses) as peer, executing() as run:
        assert run(peer.url, content=b"x" * 8_000_000).status == 413


def test_sends_a_large_body_whole() -> None:
    """A body of many packets arrives as it is."""
    body = bytes(range(256)) * 20_000
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url, content=body).status == 200
    assert peer.requests[0].partition(b"\r\n\r\n")[2] == body


def _loopback(_host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


def leaving(gone: threading.Semaphore) -> Script:
    """Make a script that answers, and tells when the other side has closed the connection."""

    def play(visit: Visit) -> None:
        answering()(visit)
        gone.release()

    return play


def test_connections_are_kept_in_the_pools_of_urllib3() -> None:
    """Each origin has a pool of urllib3's, and its one connection serves all requests in turn."""
    with Peer(answering()) as peer, executing(concurrency=3) as run:
        assert [run(peer.url).status for _ in range(5)] == [200] * 5
        transport = run.executor._transport
        assert isinstance(transport, Transport)
        manager = transport._route._pools
        assert isinstance(manager, PoolManager)
        pool = manager.connection_from_host("127.0.0.1", peer.port)
        assert isinstance(pool, HTTPConnectionPool)
        assert pool.pool is not None
        assert (pool.num_connections, pool.pool.qsize()) == (1, 3)


def test_keeps_connections_to_a_bounded_number_of_hosts() -> None:
    """Many hosts don't pile up connections: those used longest ago are closed."""
    gone = threading.Semaphore(0)
    with Peer(leaving(gone)) as peer, executing(resolve=_loopback) as run:
        for number in range(120):
            assert run(f"http://host{number}.example:{peer.port}/").status == 200
        for _ in range(20):
            assert gone.acquire(timeout=60)
        assert not gone.acquire(timeout=0.1)


def test_an_executor_that_is_closed_leaves_no_connection() -> None:
    """What is idle is closed at once."""
    gone = threading.Semaphore(0)
    with Peer(leaving(gone)) as peer:
        with executing() as run:
            run(peer.url)
        assert gone.acquire(timeout=60)


def test_a_connection_in_use_is_closed_when_it_comes_back() -> None:
    """Where the executor is closed while a request runs, its connection is not kept."""
    gone, asked, going = threading.Semaphore(0), threading.Event(), threading.Event()

    def late(visit: Visit) -> None:
        visit.read()
        asked.set()
        going.wait(60)
        visit.send(OK)
        visit.until_closed()
        gone.release()

    with Peer(late) as peer, ThreadPoolExecutor(1) as threads:
        with executing() as run:
            running = threads.submit(run, peer.url)
            assert asked.wait(60)
        going.set()
        assert running.result().status == 200
        assert gone.acquire(timeout=60)


def test_speaks_ipv6() -> None:
    """An address in brackets is reached, and named so in Host."""
    with Peer(answering(), host="::1") as peer, executing() as run:
        assert run(f"{peer.url}/x").status == 200
    assert headers(peer.requests[0])["host"] == f"[::1]:{peer.port}"


def test_an_unreachable_receiver_is_a_short_error() -> None:
    """Refused connections and unknown names say so in one line."""
    with Peer(answering()) as peer, executing() as run:
        port = peer.port
    assert run(f"http://127.0.0.1:{port}/?key=secret").error == f"connection refused: 127.0.0.1:{port}"
    assert run("http://x.invalid/").error == "name not resolved: x.invalid"
