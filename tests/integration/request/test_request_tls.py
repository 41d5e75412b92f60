"""Requests over TLS: verified, bounded, kept."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from sandbox.attempt import executing, headers
from sandbox.peer import OK, Peer, Visit, answering
from taskqueue.errors import ConfigError
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings


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
    assert result.seconds < 15


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
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
    assert result.seconds < 15


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
    assert result.seconds < 15


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


def test_a_proxy_may_have_an_ipv6_address(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """The brackets of a URL are no part of the address, with a tunnel or without one."""

    def proxying(visit: Visit) -> None:
        if visit.read().startswith(b"CONNECT "):
            visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            visit.start_tls(server)
            visit.read()
        visit.send(OK)

    with (
        Peer(proxying, host="::1") as proxy,
        executing(context=client, proxy=f"http://[::1]:{proxy.port}") as run,
    ):
        assert run("http://far.example/x").status == 200
        assert run("https://good.example/x").status == 200


def test_a_tunnel_that_was_closed_is_made_again(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A kept tunnel that ends, idle or with the next request on its way, costs no attempt."""

    def forgetful(visit: Visit) -> None:
        visit.read()
        visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        visit.start_tls(server)
        visit.read()
        visit.send(OK)
        if visit.number == 0:
            visit.read()

    with (
        Peer(forgetful) as proxy,
        executing(context=client, proxy=f"http://127.0.0.1:{proxy.port}") as run,
    ):
        assert [run("https://good.example/x").status for _ in range(3)] == [200] * 3
    assert len(proxy.visits) == 3
    assert sum(each.startswith(b"CONNECT good.example:443 ") for each in proxy.requests) == 3


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


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """Write the CA, and a certificate of a client with its key, as an operator has them."""
    issued = authority.issue_cert("client.example")
    found = {f"request_{name}_file": tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(found["request_ca_file"])
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(found["request_cert_file"], append=number > 0)
    issued.private_key_pem.write_to_path(found["request_key_file"])
    return found


def test_a_queue_trusts_the_ca_of_its_ini(server: ssl.SSLContext, files: dict[str, Path]) -> None:
    """request_ca_file stands in place of the system's CAs, and the name is checked as ever."""
    only_ca = {"request_ca_file": files["request_ca_file"]}
    with Peer(answering(), tls=server) as peer, executing(resolve=_loopback, **only_ca) as run:
        assert [run(peer.url).status for _ in range(2)] == [200, 200]
        assert "not trusted" in str(run(f"https://other.example:{peer.port}/").error)
    assert len(peer.visits) == 2


def test_a_client_certificate_is_shown_to_who_asks(
    authority: trustme.CA, server: ssl.SSLContext, files: dict[str, Path]
) -> None:
    """A receiver that wants one gets the queue's; without it there is no answer."""
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    seen = []

    def play(visit: Visit) -> None:
        assert isinstance(visit.sock, ssl.SSLSocket)
        seen.append(visit.sock.getpeercert())
        while visit.read():
            visit.send(OK)

    with Peer(play, tls=server) as peer:
        with executing(**files) as run:
            assert run(peer.url).status == 200
        with executing(request_ca_file=files["request_ca_file"]) as run:
            result = run(peer.url)
    wants = (
        f"TLS failed: 127.0.0.1:{peer.port}: the receiver wants a client certificate (request_cert_file): "
    )
    assert (result.status, result.error) == (None, f"{wants}TLSV13_ALERT_CERTIFICATE_REQUIRED")
    assert seen[0] is not None
    assert ("DNS", "client.example") in seen[0]["subjectAltName"]
    assert len(peer.requests) == 1


def test_a_client_certificate_that_is_not_trusted_is_told(
    server: ssl.SSLContext, files: dict[str, Path]
) -> None:
    """What the receiver says against ours, after the handshake, is said in its words."""
    server.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(server)
    with Peer(answering(), tls=server) as peer, executing(**files) as run:
        result = run(peer.url)
    assert result.status is None
    assert result.error is not None
    refused = r"the receiver does not accept the client certificate \(request_cert_file\)"
    assert re.fullmatch(rf"TLS failed: 127\.0\.0\.1:{peer.port}: {refused}: \w+_ALERT_\w+", result.error)


def test_before_tls_1_3_the_want_of_a_client_certificate_is_guessed(
    authority: trustme.CA, client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    """Older versions have no alert that says it, so the key is named beside the other reason there is."""
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.configure_trust(server)
    with Peer(answering(), tls=server) as peer, executing(context=client) as run:
        result = run(peer.url)
    assert result.error is not None
    assert "the receiver may want a client certificate (request_cert_file)" in result.error


@pytest.mark.parametrize("key", ["request_ca_file", "request_cert_file"])
@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_that_cannot_be_used_is_told_at_once(tmp_path: Path, key: str, content: bytes | None) -> None:
    """Before the first request, with the key and the file."""
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_bytes(content)
    settings: dict[str, Any] = {key: path}
    with pytest.raises(ConfigError, match=f"queue q: {key}: can't use .*x.pem"):
        Executor(QueueSettings("q", **settings))
