"""Answers as receivers write them: used where they can be, refused at once where not, and never another's."""

from __future__ import annotations

import ssl
import threading

import pytest
import trustme

from sandbox.attempt import executing
from sandbox.peer import OK, Peer, Visit, answering
from taskqueue.request.http.incoming import LONGEST_REST

LARGE = b"x" * 8_000_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
COOKIES = b"".join(b"Set-Cookie: c%d=x\r\n" % number for number in range(110))


def _coded(coding: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"


def _secured() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nno field\r\n: x\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200),
        (b"HTTP/1.1 200 OK\r\n" + COOKIES + b"Content-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (CHUNKED + b"2;a=b\r\nok\r\n000\r\nX: y\r\nX: z\r\n\r\n", 200),
        (CHUNKED + b"1\nx\n0\n\n", 200),
        (b"HTTP/1.1 100 x\r\n\r\n" * 21 + OK, 200),
        (b"HTTP/1.1 102 x\r\n\r\n" * 4000 + OK, 200),
        (b"HTTP/1.1 304 x\r\n\r\n", 304),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\r\nok", 200),
    ],
)
def test_an_odd_answer_is_read_and_its_connection_used_again(answer: bytes, status: int) -> None:
    """A bad line costs only itself, and what HTTP allows is understood."""
    with Peer(answering(answer)) as peer, executing() as run:
        results = [run(peer.url) for _ in range(3)]
    assert [(each.status, each.error) for each in results] == [(status, None)] * 3
    assert len(peer.visits) == 1


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        (b"HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\n", b"late"),
        (b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\n", b"late"),
        (b"HTTP/1.1 204 x\r\n\r\nmore", b""),
        (OK + b"more", b""),
        (OK + OK, b""),
        (CHUNKED + b"0\r\n\r\nmore", b""),
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", b"late"),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"late",
        ),
        (b"HTTP/1.1 200 x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", b"late"),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_body_that_does_not_fit_is_never_the_next_answer(
    answer: bytes,
    rest: bytes,
    secure: bool,  # noqa: FBT001 a kind of connection
) -> None:
    """Where more was announced than came, or came than was announced, the connection is not used again."""
    server, client = _secured()

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(answer if visit.number == 0 else OK)
        if visit.read():
            visit.send(rest + OK)

    with Peer(play, tls=server if secure else None) as peer, executing(context=client) as run:
        assert [run(peer.url).error for _ in range(2)] == [None, None]
    assert len(peer.visits) == 2


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, "status line 'SSH-2.0-OpenSSH_9.2\\r\\n'"),
        (b"no line", None, "status line 'no line'"),
        (b"HTTP/1.1 abc\r\n", None, "status line 'HTTP/1.1 abc\\r\\n'"),
        (b"HTTP/2 200\r\n", None, "status line 'HTTP/2 200\\r\\n'"),
        (
            b"HTTP/1.1 200 OK\rContent-Length: 0\r\r",
            None,
            "status line 'HTTP/1.1 200 OK\\rContent-Length: 0\\r\\r'",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\rok", None, "lines that end with CR alone"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\r", None, "lines that end with CR alone"),
        (b"HTTP/1.1 204 x\r\r", None, "lines that end with CR alone"),
        (b"HTTP/1.1 200 OK\r\r\r", None, "lines that end with CR alone"),
        (b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", 101, "101, though no other protocol was asked for"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 140_000, None, "more than 131072 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000, None, "more than 131072 bytes of headers"),
        (b"HTTP/1.1 102 x\r\n\r\n" * 8000, None, "more than 131072 bytes of headers"),
        (_coded(b'"chunked"'), 200, "Transfer-Encoding '\"chunked\"'"),
        (_coded(b"chunked;q=1"), 200, "Transfer-Encoding 'chunked;q=1'"),
        (_coded(b"gzip, chunked; q=1"), 200, "Transfer-Encoding 'gzip, chunked; q=1'"),
        (_coded(b"chunked, chunked"), 200, "Transfer-Encoding 'chunked, chunked'"),
        (_coded(b"\x0bchunked"), 200, "Transfer-Encoding '\\x0bchunked'"),
        (_coded(b"chunked chunked"), 200, "Transfer-Encoding 'chunked chunked'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 200, "Content-Length '-1'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\n", 200, "Content-Length '4, 5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 200, "Content-Length '4, 5'"),
        (CHUNKED + b"zz\r\n", 200, "chunk size 'zz'"),
        (CHUNKED + b"-1\r\n", 200, "chunk size '-1'"),
        (CHUNKED + b"0x1\r\nx\r\n", 200, "chunk size '0x1'"),
        (CHUNKED + b"\r\n", 200, "chunk size ''"),
        (CHUNKED + b"1\r\nxy\r\n", 200, "a chunk longer than its size"),
    ],
)
def test_what_cannot_be_used_is_an_error_at_once(answer: bytes, status: int | None, error: str) -> None:
    """Nobody waits for what would not mend it, though the connection stays open."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(answer)
        visit.until_closed()

    with Peer(play) as peer, executing(timeout=30.0) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (status, f"not an HTTP answer: 127.0.0.1:{peer.port}: {error}")
    assert result.seconds < 15


@pytest.mark.parametrize("trailer", [b"", b"X: y\r\n", b"X: half", b"\r"])
@pytest.mark.parametrize("stays", [False, True])
def test_a_body_is_whole_once_its_last_chunk_is_there(
    trailer: bytes,
    stays: bool,  # noqa: FBT001 whether the receiver keeps its end open
) -> None:
    """What is to follow may never come (RFC 9112, 8): it stays a success, and the connection ends."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(CHUNKED + b"2\r\nok\r\n0\r\n" + trailer)
        if stays:
            visit.until_closed()

    with Peer(play) as peer, executing(timeout=30.0) as run:
        results = [run(peer.url) for _ in range(2)]
    assert [(each.status, each.error) for each in results] == [(200, None)] * 2
    assert max(each.seconds for each in results) < 25
    assert len(peer.visits) == 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"200 x\r\nTransfer-Encoding: chunked, gzip", 200),
        (b"200 x\r\nTransfer-Encoding: br\r\nContent-Length: 2", 200),
        (b"200 x\r\nConnection: keep-alive", 200),
        (b"200 x\r\nContent-Length: " + b"9" * 5000, 200),
        (b"200 x\r\nContent-Length: 70000", 200),
        (b"200 x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 5000, 200),
        (b"205 x", 205),
        (b"408 x", 408),
        (b"500 x", 500),
    ],
)
def test_what_nobody_would_wait_for_is_judged_by_its_status(head: bytes, status: int) -> None:
    """No end of it says whether it is whole, so the status stands; what comes yet is nobody's answer."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(b"HTTP/1.1 " + head + b"\r\n\r\nok")
        if visit.read():
            visit.send(OK)

    with Peer(play) as peer, executing(timeout=30.0) as run:
        results = [run(peer.url) for _ in range(2)]
    assert [(each.status, each.error) for each in results] == [(status, None)] * 2
    assert max(each.seconds for each in results) < 25
    assert len(peer.visits) == 2


@pytest.mark.parametrize("head", [b"1.0 200 x", b"1.1 200 x\r\nConnection: close"])
def test_an_end_that_was_announced_is_waited_for(head: bytes) -> None:
    """The receiver may be at work until it closes, and would be cut off."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(b"HTTP/" + head + b"\r\n\r\n")
        visit.peer.stopped.wait(1.5)
        visit.send(b"ok")

    with Peer(play) as peer, executing(timeout=30.0) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (200, None)
    assert result.seconds >= 1.5


TIRED = b"HTTP/1.1 408 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("secure", [False, True])
def test_a_408_that_came_before_the_request_is_not_its_answer(secure: bool) -> None:  # noqa: FBT001 a kind of connection
    """A server that is tired of an idle connection says so: the request goes out on a fresh one."""
    server, client = _secured()
    told = threading.Event()

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        if visit.number == 0:
            visit.send(TIRED)
            visit.arrived()
            told.set()
        visit.until_closed()

    with Peer(play, tls=server if secure else None) as peer, executing(context=client) as run:
        assert run(peer.url).status == 200
        assert told.wait(60)
        assert (run(peer.url).status, len(peer.requests)) == (200, 2)
    assert len(peer.visits) == 2


@pytest.mark.parametrize("secure", [False, True])
def test_a_408_to_a_request_that_was_not_sent_whole_is_not_its_answer(secure: bool) -> None:  # noqa: FBT001 a kind of connection
    """On a kept connection: the server was tired before the request had come, so it can't have run it."""
    server, client = _secured()

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        if visit.number == 0:
            visit.sock.recv(1000)
            visit.send(TIRED)
            visit.peer.stopped.wait(60)
        else:
            visit.until_closed()

    with (
        Peer(play, tls=server if secure else None) as peer,
        executing(timeout=30.0, context=client) as run,
    ):
        assert run(peer.url).status == 200
        assert run(peer.url, content=LARGE).status == 200
    assert [len(each.partition(b"\r\n\r\n")[2]) for each in peer.requests] == [7, len(LARGE)]


def test_a_408_to_a_request_that_was_sent_is_its_answer_and_the_last_of_its_connection() -> None:
    """Whether it was run nobody knows, so the attempt failed; and an answer behind it is nobody's."""

    def play(visit: Visit) -> None:
        while visit.read():
            first = visit.number == 0 and len(peer.requests) == 2
            visit.send(b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n" if first else OK)

    with Peer(play) as peer, executing() as run:
        assert [run(peer.url).status for _ in range(3)] == [200, 408, 200]
    assert [len(peer.visits), len(peer.requests)] == [2, 3]


@pytest.mark.parametrize("end", [b"0", b"2\r\nok\r\n", b"2\r\nok", b"2\r\no"])
def test_a_body_without_its_last_chunk_is_not_whole(end: bytes) -> None:
    """More of it may be missing than its end, and nobody can tell."""

    def play(visit: Visit) -> None:
        visit.read()
        visit.send(CHUNKED + end)
        visit.until_closed()

    with Peer(play) as peer, executing(timeout=1.0) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (200, "timed out after 1 s")


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_an_answer_may_come_in_any_pieces(piece: int) -> None:
    """Where a packet ends means nothing."""
    whole = b"HTTP/1.1 103 x\r\nA: b\r\n\r\n" + CHUNKED + b"3\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n"

    def play(visit: Visit) -> None:
        while visit.read():
            for begin in range(0, len(whole), piece):
                visit.send(whole[begin : begin + piece])

    with Peer(play) as peer, executing() as run:
        assert [(each.status, each.error) for each in (run(peer.url), run(peer.url))] == [(200, None)] * 2
    assert len(peer.visits) == 1


def test_a_line_end_that_comes_in_pieces_is_waited_for() -> None:
    """Two CRs may be half of a line end that has one too many; the time of the whole stays as it is."""

    def play(visit: Visit) -> None:
        visit.read()
        for piece in (b"HTTP/1.1 200 OK\r\r", b"\nContent-Length: 2\r\r", b"\n\r\r"):
            visit.send(piece)
            visit.peer.stopped.wait(0.1)
        visit.send(b"\n")
        visit.peer.stopped.wait(1.1 * LONGEST_REST)
        visit.send(b"ok")

    with Peer(play) as peer, executing(timeout=30.0) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (200, None)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n"])
def test_an_early_answer_is_heeded_while_the_body_is_sent(
    before: bytes,
    secure: bool,  # noqa: FBT001 a kind of connection
) -> None:
    """A receiver that refuses a large body, takes no more of it and hangs on is heard at once."""
    server, client = _secured()

    def refuses(visit: Visit) -> None:
        visit.sock.recv(1000)
        if visit.number == 0:
            visit.send(before + b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n")
        else:
            visit.send(OK)
        visit.peer.stopped.wait(60)

    with (
        Peer(refuses, tls=server if secure else None) as peer,
        executing(timeout=30.0, context=client) as run,
    ):
        result = run(peer.url, content=LARGE)
        assert (result.status, result.error) == (413, None)
        assert result.seconds < 15
        # What was left unsent is never taken for another request.
        assert run(peer.url).status == 200
    assert len(peer.visits) == 2


@pytest.mark.parametrize("secure", [False, True])
def test_interim_answers_do_not_end_the_sending(secure: bool) -> None:  # noqa: FBT001 a kind of connection
    """Only a final answer does: after 100 and 103 the body arrives whole, and the connection stays."""
    server, client = _secured()

    def play(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n")
        visit.send(b"\r\n")
        for _ in range(2):
            visit.read()
            visit.send(OK)

    with (
        Peer(play, tls=server if secure else None) as peer,
        executing(timeout=30.0, context=client) as run,
    ):
        assert [run(peer.url, content=LARGE).status for _ in range(2)] == [200, 200]
    assert [len(each.partition(b"\r\n\r\n")[2]) for each in peer.requests] == [len(LARGE)] * 2
    assert len(peer.visits) == 1


@pytest.mark.parametrize(
    ("garbage", "error"),
    [
        (b"220 smtp.example ESMTP\r\n", "status line '220 smtp.example ESMTP"),
        (b"HTTP/1.1 413 x\r\r", "lines that end with CR alone"),
    ],
)
def test_garbage_while_the_body_is_sent_is_an_error_at_once(garbage: bytes, error: str) -> None:
    """What can't be an answer ends the sending too."""

    def play(visit: Visit) -> None:
        visit.sock.recv(1000)
        visit.send(garbage)
        visit.peer.stopped.wait(60)

    with Peer(play) as peer, executing(timeout=30.0) as run:
        result = run(peer.url, content=LARGE)
    assert result.error is not None
    assert error in result.error
    assert result.seconds < 15
