"""Where requests may go: names, addresses, redirects, proxies."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.attempt import executing, headers
from sandbox.peer import OK, Peer, Script, Visit, answering

LOOPBACK = ("127.0.0.0/8", "::1/128")
Resolve = Callable[[str, int], list[tuple[socket.AddressFamily, Any]]]


def resolving(*addresses: str) -> Resolve:
    """Make a resolver that knows these addresses for every name."""

    def resolve(_host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
        return [
            (socket.AF_INET6, (each, port, 0, 0)) if ":" in each else (socket.AF_INET, (each, port))
            for each in addresses
        ]

    return resolve


def moved(status: int, location: str) -> bytes:
    """Write an answer that sends the request elsewhere."""
    head = f"HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0.0.0.0", "0",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "LOCALHOST",
    ],
)  # fmt: skip
def test_a_denied_network_is_refused_however_it_is_written(host: str) -> None:
    """Decimal, octal, hex, wrapped or unspecified: what ends at the address is refused."""
    with Peer(answering()) as peer, executing(deny_networks=LOOPBACK) as run:
        result = run(f"http://{host}:{peer.port}/")
    assert result.status is None
    assert result.error is not None
    assert result.error.startswith("address not allowed: ")
    assert not peer.visits


def test_cloud_metadata_is_denied_by_default() -> None:
    """Without any setting, link-local addresses are out of reach, by name too."""
    with executing(connect_timeout=0.5, resolve=resolving("169.254.169.254")) as run:
        for host in ("169.254.169.254", "metadata.example"):
            result = run(f"http://{host}/latest/meta-data/")
            assert result.error == "address not allowed: 169.254.169.254 (deny_networks)"


def test_of_several_addresses_only_the_denied_are_dropped() -> None:
    """A mixed answer is connected to where it may be, and never elsewhere."""
    resolve = resolving("127.0.0.2", "::1", "127.0.0.1")
    with (
        Peer(answering()) as peer,
        executing(deny_networks=("127.0.0.2/32", "::1/128"), resolve=resolve) as run,
    ):
        assert run(f"http://mixed.example:{peer.port}/").status == 200
        assert peer.visits[0].sock.getsockname()[0] == "127.0.0.1"


def test_a_name_that_changes_its_address_is_checked_at_each_connection() -> None:
    """Rebinding: the name is resolved once a connection, and that very address is checked."""
    answers = iter(["127.0.0.1", "127.0.0.2"])

    def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
        return resolving(next(answers))(host, port)

    closing = OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    with (
        Peer(answering(closing)) as peer,
        executing(deny_networks=("127.0.0.2/32",), resolve=resolve) as run,
    ):
        url = f"http://rebind.example:{peer.port}/"
        assert run(url).status == 200
        assert run(url).error == "address not allowed: 127.0.0.2 (deny_networks)"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.example.com", True), ("API.example.COM", True), ("api.example.com.", True),
        ("a.b.example.com", True), ("exact.example", True), ("example.com", False),
        ("evilexample.com", False), ("api.example.com.evil.example", False), ("127.0.0.1", False),
        ("xn--bcher-kva.example", True), ("bücher.example", True),
    ],
)  # fmt: skip
def test_only_hosts_of_the_patterns_are_asked(host: str, *, allowed: bool) -> None:
    """allow_hosts is about the name, whatever its case, its last dot or its alphabet."""
    patterns = ("*.example.com", "exact.example", "xn--bcher-kva.example")
    with Peer(answering()) as peer, executing(allow_hosts=patterns, resolve=resolving("127.0.0.1")) as run:
        result = run(f"http://{host}:{peer.port}/")
    if allowed:
        assert result.status == 200
    else:
        assert result.error == f"host not allowed: {host} (allow_hosts)"
    assert len(peer.visits) == allowed


def test_a_redirect_is_just_a_status_by_default() -> None:
    """Nothing is followed unless the queue says so."""
    with Peer(answering(moved(307, "/other"))) as peer, executing() as run:
        assert run(peer.url).status == 307
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/other?a=1#b", "other?a=1", "{url}/other?a=1", "//{host}/other?a=1"])
def test_a_redirect_keeps_method_and_body(status: int, location: str) -> None:
    """The same request goes to the other place, over the same connection where it is the same host."""

    def play(visit: Visit) -> None:
        visit.read()
        host = visit.peer.url.removeprefix("http://")
        visit.send(moved(status, location.format(url=visit.peer.url, host=host)))
        visit.read()
        visit.send(OK)

    with Peer(play) as peer, executing(follow_redirects=True) as run:
        assert run(f"{peer.url}/first", metadata={"headers": {"Authorization": "x"}}).status == 200
    assert len(peer.visits) == 1
    assert peer.requests[1].startswith(b"POST /other?a=1 HTTP/1.1\r\n")
    assert peer.requests[1].endswith(b'{"a":1}')
    assert headers(peer.requests[1])["authorization"] == "x"


def test_a_redirect_takes_no_credentials_to_another_origin() -> None:
    """Authorization and Cookie stay with the host that they were meant for."""
    with Peer(answering()) as other, Peer(answering(moved(307, f"{other.url}/x"))) as peer:
        with executing(follow_redirects=True) as run:
            metadata = {"headers": {"authorization": "a", "Cookie": "b", "X-Other": "c"}}
            assert run(peer.url, metadata=metadata).status == 200
        sent = headers(other.requests[0])
    assert sent["x-other"] == "c"
    assert not {"authorization", "cookie"} & set(sent)
    assert headers(peer.requests[0])["authorization"] == "a"


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://169.254.169.254/latest", "address not allowed: 169.254.169.254 (deny_networks)"),
        ("http://evil.example/", "evil.example (allow_hosts)"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("http://user:pass@127.0.0.1/", "holds credentials"),
        ("http://user:my/pass@127.0.0.1/", "not a host and port: 'user'"),
        ("http://[::1", "redirect to"),
        ("/a b", "holds a space"),
        ("http://127.0.0.1:99999/", "port must be"),
    ],
)
def test_a_redirect_is_checked_as_any_url(location: str, error: str) -> None:
    """A receiver can't send a request where a message can't."""
    allowed = ("127.0.0.1", "169.254.169.254", "[[]*", "::1")
    with (
        Peer(answering(moved(302, location))) as peer,
        executing(follow_redirects=True, allow_hosts=allowed) as run,
    ):
        result = run(peer.url)
    assert result.error is not None
    assert error in result.error
    assert "pass@" not in result.error


def test_redirects_in_a_circle_end() -> None:
    """Five redirects are followed, and the sixth is a failure."""
    with Peer(answering(moved(302, "/again"))) as peer, executing(follow_redirects=True) as run:
        result = run(peer.url)
    assert (result.status, result.error) == (302, "more than 5 redirects")
    assert len(peer.requests) == 6


def test_the_deadline_covers_all_redirects() -> None:
    """A slow chain of redirects has the time of one attempt."""

    def slow(visit: Visit) -> None:
        while visit.read():
            visit.peer.stopped.wait(0.2)
            visit.send(moved(302, "/again"))

    with Peer(slow) as peer, executing(follow_redirects=True, timeout=0.5) as run:
        result = run(peer.url)
    assert result.error == "timed out after 0.5 s"
    assert result.seconds < 15


def test_a_location_that_is_not_ascii_is_encoded() -> None:
    """Bytes beyond ASCII in a Location are UTF-8."""
    script: Script = _once_moved("/à")
    with Peer(script) as peer, executing(follow_redirects=True) as run:
        assert run(peer.url).status == 200
    assert peer.requests[1].startswith(b"POST /%C3%A0 HTTP")


def _once_moved(location: str) -> Script:
    def play(visit: Visit) -> None:
        visit.read()
        visit.send(moved(302, location))
        visit.read()
        visit.send(OK)

    return play


def test_the_environments_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ini names a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url).status == 200


def test_a_proxy_is_given_the_whole_url_and_its_credentials() -> None:
    """A plain request goes to the proxy, which resolves the name; its address may be denied to messages."""
    with Peer(answering()) as proxy:
        address = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        with executing(proxy=address, deny_networks=LOOPBACK) as run:
            assert [run("http://far.example/x?y=1").status for _ in range(2)] == [200, 200]
    assert len(proxy.visits) == 1
    assert proxy.requests[0].startswith(b"POST http://far.example/x?y=1 HTTP/1.1\r\n")
    sent = headers(proxy.requests[0])
    assert sent["host"] == "far.example"
    assert sent["proxy-authorization"] == "Basic " + b64encode(b"user:p@ss").decode()


def test_the_rules_hold_through_a_proxy() -> None:
    """Names are checked, and addresses where the URL itself writes them."""
    with Peer(answering()) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        with executing(proxy=address, allow_hosts=("far.example", "169*", "2852039166")) as run:
            assert run("http://near.example/").error == "host not allowed: near.example (allow_hosts)"
            for host in ("169.254.169.254", "2852039166"):
                assert run(f"http://{host}/").error == "address not allowed: 169.254.169.254 (deny_networks)"
    assert not proxy.requests


def test_a_proxy_that_refuses_is_named_without_its_password() -> None:
    """The error tells which proxy, and never how to log in to it."""
    with (
        Peer(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy,
        executing(proxy=f"http://user:secret@127.0.0.1:{proxy.port}") as run,
    ):
        result = run("https://far.example/")
    assert result.error is not None
    assert result.error.startswith(f"connection failed: proxy 127.0.0.1:{proxy.port} for far.example:443: ")
    assert "407" in result.error
    assert "secret" not in result.error


def test_the_deadline_holds_for_a_proxy_that_drips() -> None:
    """A tunnel that is never there costs the time of one attempt."""

    def drip(visit: Visit) -> None:
        visit.read()
        while not visit.peer.stopped.wait(0.05):
            visit.send(b"H")

    with Peer(drip) as proxy, executing(proxy=f"http://127.0.0.1:{proxy.port}", timeout=0.4) as run:
        result = run("https://far.example/")
    assert result.error == "timed out after 0.4 s"
    assert result.seconds < 15
