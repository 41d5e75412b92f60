"""Receivers that misbehave: each costs its own attempt a bounded time and memory, and nothing else."""

from __future__ import annotations

import gzip
import select
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any, ClassVar

import pytest

from sandbox.attempt import executing
from sandbox.peer import Peer, Script, Visit, answering
from taskqueue.handlers import Answer, Handler, Verdict
from taskqueue.request import execute
from taskqueue.request.http import limits
from taskqueue.task.decode import Task

DEADLINE = 1.0
"""Seconds in which a busy machine gets to the end of a head."""
LONGEST = 15.0
"""Seconds that a busy machine may take beside that."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"


def dripping(begin: bytes, drop: bytes) -> Script:
    """Make a script that answers one byte at a time, for ever."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(begin)
        while not visit.peer.stopped.wait(0.05):
            visit.send(drop)

    return play


def pouring(begin: bytes, more: bytes) -> Script:
    """Make a script whose answer has no end."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(begin)
        while True:
            visit.send(more)

    return play


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (dripping(b"HTTP/1.1 200 ", b"H"), None),
        (dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"), None),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), None),
        (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), None),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x"), 200),
        (dripping(CHUNKED, b"1\r\nx\r\n"), 200),
        (dripping(CHUNKED + b"1;", b"x"), 200),
        (lambda visit: visit.until_closed(), None),
    ],
)
def test_the_deadline_ends_a_receiver_that_takes_its_time(script: Script, status: int | None) -> None:
    """A byte now and then keeps no attempt alive, wherever in the answer it comes."""
    with Peer(script) as peer, executing(timeout=DEADLINE) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (status, f"timed out after {DEADLINE:g} s")
    assert 0.9 * DEADLINE < result.seconds < LONGEST


@pytest.mark.parametrize(
    "script",
    [
        dripping(CHUNKED + b"0\r\n", b"A: b\r\n"),
        dripping(ENDLESS, b"x"),
        dripping(CHUNKED + b"FFFFFFFF\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        dripping(b"HTTP/1.0 200 OK\r\n\r\n", b"x"),
    ],
)
@pytest.mark.parametrize("handlers", [(), (f"{__name__}:Reads",)])
def test_what_has_no_end_keeps_no_attempt_alive_and_takes_no_success_away(
    script: Script, handlers: tuple[str, ...]
) -> None:
    """Nothing that could still come tells whether the answer is whole, so its status stands."""
    with Peer(script) as peer, executing(timeout=DEADLINE, handlers=handlers) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (200, None)
    assert result.seconds < LONGEST


def test_the_deadline_ends_a_receiver_that_does_not_read() -> None:
    """A body that nobody takes is given up."""

    def deaf(visit: Visit) -> None:
        visit.peer.stopped.wait(4 * LONGEST)

    with Peer(deaf) as peer, executing(timeout=DEADLINE) as run:
        result = run(peer.url, content=b"x" * 16_000_000)
    assert result.error == f"timed out after {DEADLINE:g} s"
    assert result.seconds < LONGEST


def test_the_deadline_ends_a_receiver_that_reads_slowly() -> None:
    """A body that is taken piece by piece is given up all the same."""

    def slow(visit: Visit) -> None:
        while not visit.peer.stopped.wait(0.02):
            visit.sock.recv(1000)

    with Peer(slow) as peer, executing(timeout=DEADLINE) as run:
        assert run(peer.url, content=b"x" * 16_000_000).error == f"timed out after {DEADLINE:g} s"


@pytest.mark.parametrize(
    "script",
    [
        pouring(ENDLESS, b"x" * 60_000),
        pouring(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000),
        pouring(CHUNKED, b"ea60\r\n" + b"x" * 60_000 + b"\r\n"),
        pouring(CHUNKED, b"1\r\nx\r\n" * 1000),
        pouring(CHUNKED + b"FFFFFFFFFFFFFFFFFFFFFFFF\r\n", b"x" * 60_000),
        pouring(CHUNKED + b"0\r\n", b"A: b\r\n" * 1000),
        pouring(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"\0" * 60_000),
    ],
)
def test_a_body_without_end_is_left_and_its_status_stands(script: Script) -> None:
    """After 64 KiB the connection is closed; how long the answer would have been is no matter."""
    with Peer(script) as peer, executing() as run:
        tracemalloc.start()
        result = run(peer.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (result.status, result.error) == (200, None)
        assert most < 2_000_000
        run(peer.url)
    assert len(peer.visits) == 2


@pytest.mark.parametrize(
    "script",
    [
        pouring(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000),
        pouring(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 60_000),
        pouring(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        pouring(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
        pouring(b"", b"x" * 60_000),
        lambda visit: visit.send(b"HTTP/1.1 20"),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answering(b"HTTP/1.1 abc\r\n\r\n"),
        answering(b"HTTP/1.1 99999 x\r\n\r\n"),
        answering(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
        answering(b"\x16\x03\x01\x02\0\x01\0\x01"),
        answering(b"\r\n\r\n"),
    ],
)
def test_what_is_no_answer_is_a_short_error(script: Script) -> None:
    """Garbage, and heads without end, fail the attempt with one printable line."""
    with Peer(script) as peer, executing(timeout=1.0) as run:
        result = run(peer.url)
    assert result.status is None
    assert result.error is not None
    assert result.error.isprintable()
    assert len(result.error) <= 300


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", 200),
        (CHUNKED, 200),
        (CHUNKED + b"5", 200),
        (CHUNKED + b"5\r\nok", 200),
        (CHUNKED + b"2\r\nok\r\n", 200),
    ],
)
def test_an_answer_that_breaks_off_is_a_failure(answer: bytes, status: int | None) -> None:
    """What ends in the middle never was an answer, even where it began with 200."""

    def half(visit: Visit) -> None:
        visit.read()
        visit.send(answer)

    with Peer(half) as peer, executing() as run:
        result = run(peer.url)
    assert (result.status, result.error) == (status, f"answer broken off: 127.0.0.1:{peer.port}")


class Reads(Handler):
    """Would judge answers by their bodies."""

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Have no opinion on what has come of it."""
        del answer, task
        return None


class Seen(Handler):
    """Keeps the bodies of answers."""

    bodies: ClassVar[list[bytes]] = []

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Look, and have no opinion."""
        del task
        self.bodies.append(answer.body)
        return None


def test_a_gzip_bomb_is_not_lit() -> None:
    """An answer is never decompressed: fifty megabytes stay the fifty kilobytes that came."""
    bomb = gzip.compress(bytes(50_000_000), 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with Peer(answering(head + bomb)) as peer, executing(handlers=(f"{__name__}:Seen",)) as run:
        tracemalloc.start()
        result = run(peer.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (result.status, result.error) == (200, None)
    assert Seen.bodies == [bomb[:65536]]
    assert most < 2_000_000


def test_an_attempt_has_its_whole_time_on_a_kept_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of one request is not the next one's on the same connection."""
    ahead = 0.0
    for module in (execute, limits):
        monkeypatch.setattr(module, "monotonic", lambda: monotonic() + ahead)
    with Peer(answering()) as peer, executing(timeout=60.0) as run:
        assert run(peer.url).error is None
        ahead = 61.0
        assert run(peer.url).error is None
    assert len(peer.visits) == 1


def test_an_answer_of_exactly_the_bound_is_whole() -> None:
    """64 KiB are read to the end, and the connection serves again."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536
    with Peer(answering(answer)) as peer, executing() as run:
        assert [run(peer.url).status for _ in range(2)] == [200, 200]
    assert len(peer.visits) == 1


@contextmanager
def crowded(host: str) -> Iterator[Any]:
    """Give the address of a listener whose line is full: Linux drops whatever else knocks."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=0) as listener, socket.socket(family) as one:
        one.connect(listener.getsockname())
        # It has come to the line, which has one place; a busy kernel puts that off.
        assert select.select([listener], [], [], 4 * LONGEST)[0]
        yield listener.getsockname()


@pytest.fixture
def full() -> Iterator[int]:
    """Give the port of such a listener."""
    with crowded("127.0.0.1") as address:
        yield address[1]


def test_no_connection_within_its_own_timeout_is_given_up(full: int) -> None:
    """connect_timeout ends what never answers, long before the attempt's deadline."""
    with executing(connect_timeout=0.3) as run:
        result = run(f"http://127.0.0.1:{full}/")
    assert result.error == f"connect timed out after 0.3 s: 127.0.0.1:{full}"
    assert result.seconds < LONGEST


def test_a_dead_address_beside_a_live_one_costs_little(full: int) -> None:
    """The next address of a name is tried a moment after the first, and not after its timeout."""
    with Peer(answering()) as peer:
        found = [(socket.AF_INET, ("127.0.0.1", full)), (socket.AF_INET, ("127.0.0.1", peer.port))]
        with executing(resolve=lambda _host, _port: found) as run:
            result = run("http://two.example/")
    assert result.status == 200
    assert result.seconds < LONGEST


def test_a_dead_ipv6_beside_a_live_ipv4_costs_little() -> None:
    """Both families are tried, whichever the resolver names first."""
    with crowded("::1") as dead, Peer(answering()) as peer:
        found: list[tuple[socket.AddressFamily, Any]] = [
            (socket.AF_INET6, dead),
            (socket.AF_INET6, dead),
            (socket.AF_INET, ("127.0.0.1", peer.port)),
        ]
        with executing(resolve=lambda _host, _port: found) as run:
            result = run("http://two.example/")
    assert result.status == 200
    assert result.seconds < LONGEST


def test_a_refused_address_beside_a_live_one_costs_nothing() -> None:
    """Where IPv6 is refused at once, IPv4 follows at once."""
    with Peer(answering()) as peer:
        found = [(socket.AF_INET6, ("::1", peer.port, 0, 0)), (socket.AF_INET, ("127.0.0.1", peer.port))]
        with executing(resolve=lambda _host, _port: found) as run:
            result = run("http://two.example/")
    assert result.status == 200
    assert result.seconds < LONGEST


def test_a_name_server_that_hangs_is_given_up() -> None:
    """A look-up that takes too long fails the attempt, and those who ask meanwhile share it."""
    hanging = threading.Event()
    asked = []

    def resolve(host: str, _port: int) -> list[Any]:
        asked.append(host)
        hanging.wait(4 * LONGEST)
        return []

    with executing(resolve=resolve, connect_timeout=0.2) as run:
        errors = {run("http://slow.example/").error for _ in range(3)}
        hanging.set()
    assert errors == {"name not resolved in time: slow.example"}
    assert asked == ["slow.example"]


def test_one_slow_receiver_leaves_the_other_threads_alone() -> None:
    """An attempt that hangs holds its own thread only."""
    with (
        Peer(lambda visit: visit.until_closed()) as stuck,
        Peer(answering()) as quick,
        executing(timeout=5.0) as run,
        ThreadPoolExecutor(2) as threads,
    ):
        hanging = threads.submit(run, stuck.url)
        assert threads.submit(run, quick.url).result().seconds < 4.9
        assert not hanging.done()
        assert hanging.result().error == "timed out after 5 s"
