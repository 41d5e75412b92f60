"""Requests over TLS: verified, bounded, kept."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

import pytest
import trustme

from sandbox.attempt import executing, headers
from sandbox.peer import OK, Peer, Visit, answering


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make a CA of our own."""
    return trustme.CA()


@pytest.fixture
def client(authority: trustme.CA) -> ssl.SSLContext:
    """Trust that CA alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def server(authority: trustme.CA) -> ssl.SSLContext:
    """Serve with a certificate for 127.0.0.1 and good.example."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "good.example").configure_cert(context)
    return context


def _loopback(_host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


def test_a_trusted_certificate_is_spoken_to(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """TLS works, by address and by name, and keeps its connection."""
    with Peer(answering(), tls=server) as peer, executing(context=client, resolve=_loopback) as run:
        assert [run(peer.url).status for _ in range(3)] == [200] * 3
        assert run(f"https://good.example:{peer.port}/").status == 200
    assert len(peer.visits) == 2
    assert headers(peer.requests[0])["host"] == f"127.0.0.1:{peer.port}"


def test_an_untrusted_certificate_is_refused(server: ssl.SSLContext) -> None:
    """A certificate of an unknown CA gets no request."""
    with Peer(answering(), tls=server) as peer, executing() as run:
        result = run(peer.url)
    assert result.error is not None
    assert result.error.startswith(f"TLS certificate not trusted: 127.0.0.1:{peer.port}: ")
    assert not peer.requests


def test_a_certificate_for_another_name_is_refused(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """The name in the URL has to be in the certificate."""
    with Peer(answering(), tls=server) as peer, executing(context=client, resolve=_loopback) as run:
        result = run(f"https://other.example:{peer.port}/")
    assert result.error is not None
    assert "TLS certificate not trusted" in result.error
    assert not peer.requests


def test_a_receiver_without_tls_is_a_short_error() -> None:
    """Plain HTTP behind https is told apart from a lost connection."""
    with Peer(lambda visit: visit.send(b"HTTP/1.1 400 x\r\n\r\n")) as peer, executing() as run:
        result = run(f"https://127.0.0.1:{peer.port}/")
    assert result.error is not None
    assert result.error.startswith(f"TLS failed: 127.0.0.1:{peer.port}")


def test_a_handshake_that_never_ends_is_given_up() -> None:
    """The handshake is a part of connecting, and has its timeout."""
    with Peer(lambda visit: visit.until_closed()) as peer, executing(connect_timeout=0.3) as run:
        result = run(f"https://127.0.0.1:{peer.port}/")
    assert result.error == f"connect timed out after 0.3 s: 127.0.0.1:{peer.port}"
    assert result.seconds < 1


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_the_deadline_ends_a_drip_through_tls(
    client: ssl.SSLContext, server: ssl.SSLContext, begin: bytes
) -> None:
    """A byte now and then is no answer over TLS either."""

    def drip(visit: Visit) -> None:
        visit.read()
        visit.send(begin)
        while not visit.peer.stopped.wait(0.05):
            visit.send(b"H")

    with Peer(drip, tls=server) as peer, executing(context=client, timeout=0.5) as run:
        result = run(peer.url)
    assert result.error == "timed out after 0.5 s"
    assert result.seconds < 1


def test_the_deadline_ends_a_body_that_nobody_reads_through_tls(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    """A large body that is taken slowly is given up over TLS too."""

    def slow(visit: Visit) -> None:
        while not visit.peer.stopped.wait(0.02):
            visit.sock.recv(1000)

    with Peer(slow, tls=server) as peer, executing(context=client, timeout=0.5) as run:
        result = run(peer.url, content=b"x" * 16_000_000)
    assert result.error == "timed out after 0.5 s"
    assert result.seconds < 1.5


def test_a_kept_tls_connection_that_was_closed_costs_no_attempt(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    """A stale connection is replaced, as without TLS."""

    def forgetful(visit: Visit) -> None:
        visit.read()
        visit.send(OK)
        visit.read()

    with Peer(forgetful, tls=server) as peer, executing(context=client) as run:
        assert [run(peer.url).status for _ in range(3)] == [200] * 3
    assert len(peer.visits) == 3


def test_a_tunnel_through_a_proxy_is_verified_at_its_far_end(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    """What goes through a proxy is TLS with the receiver; the proxy sees CONNECT and its own credentials."""

    def tunnel(visit: Visit) -> None:
        visit.read()
        visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with suppress(ssl.SSLError):
            visit.start_tls(server)
            while visit.read():
                visit.send(OK)

    with Peer(tunnel) as proxy:
        address = f"http://user:secret@127.0.0.1:{proxy.port}"
        with executing(context=client, proxy=address) as run:
            assert [run("https://good.example/x").status for _ in range(2)] == [200, 200]
            assert "not trusted" in str(run("https://other.example/x").error)
    assert len(proxy.visits) == 2
    connect, post, *_ = proxy.requests
    assert connect.startswith(b"CONNECT good.example:443 HTTP/1.")
    assert "proxy-authorization" in headers(connect)
    assert post.startswith(b"POST /x HTTP/1.1\r\n")
    assert "proxy-authorization" not in headers(post)


def test_many_threads_share_tls_connections(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Concurrent requests over TLS need one connection a thread."""
    with Peer(answering(), tls=server) as peer, executing(context=client, concurrency=4) as run:
        results: list[int | None] = []
        threads = [
            threading.Thread(target=lambda: results.extend(run(peer.url).status for _ in range(20)))
            for _ in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert results == [200] * 80
    assert len(peer.visits) <= 4
