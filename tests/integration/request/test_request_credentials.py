"""Authorization from the ini: sent where the ini says, and to nobody else."""

from __future__ import annotations

import socket
import ssl
from base64 import b64decode

import pytest
import trustme

from sandbox.attempt import executing, headers
from sandbox.peer import OK, Peer, Visit, answering
from taskqueue.errors import ConfigError
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings


def _loopback(_host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


def authorization(request: bytes) -> str | None:
    """Give the Authorization of a raw request."""
    return headers(request).get("authorization")


def test_a_bearer_token_goes_to_base_url() -> None:
    """By its path and by its whole URL."""
    with (
        Peer(answering()) as peer,
        executing(handlers=("bearer",), bearer_token="a.b~c=", base_url=f"{peer.url}/v1") as run,
    ):
        assert [run("/x").status, run(f"{peer.url}/y").status] == [200, 200]
    assert [authorization(each) for each in peer.requests] == ["Bearer a.b~c="] * 2


def test_basic_auth_is_encoded() -> None:
    """As RFC 7617 says, in UTF-8."""
    with (
        Peer(answering()) as peer,
        executing(handlers=("basic",), basic_auth="me:pä:ss", base_url=peer.url) as run,
    ):
        assert run("/x").status == 200
    sent = authorization(peer.requests[0])
    assert sent is not None
    assert b64decode(sent.removeprefix("Basic ")).decode() == "me:pä:ss"


def test_another_host_gets_no_credentials() -> None:
    """A message may name any URL, and must not get at the token by that; nor by another port."""
    with Peer(answering()) as home, Peer(answering()) as other:
        settings = {"handlers": ("bearer",), "bearer_token": "secret", "base_url": home.url}
        with executing(resolve=_loopback, **settings) as run:
            for url in (other.url, f"http://evil.example:{home.port}/", f"http://localhost:{home.port}/"):
                assert run(url).status == 200
    assert [authorization(each) for each in home.requests + other.requests] == [None] * 3


def test_a_redirect_elsewhere_drops_the_credentials() -> None:
    """The receiver can't hand them on."""
    with Peer(answering()) as other:
        moved = f"HTTP/1.1 307 x\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        with (
            Peer(answering(moved)) as home,
            executing(
                handlers=("bearer",), bearer_token="t", base_url=home.url, follow_redirects=True
            ) as run,
        ):
            assert run("/x").status == 200
    assert authorization(home.requests[0]) == "Bearer t"
    assert authorization(other.requests[0]) is None


def test_hosts_of_allow_hosts_get_them_by_https_only() -> None:
    """Whoever publishes a task chooses the scheme, and must not have the token sent in the clear."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.example.com").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    settings = {"handlers": ("bearer",), "bearer_token": "t", "allow_hosts": ("*.example.com",)}
    with (
        Peer(answering(), tls=server) as secure,
        Peer(answering()) as clear,
        executing(context=client, resolve=_loopback, **settings) as run,
    ):
        assert run(f"https://api.example.com:{secure.port}/").status == 200
        assert run(f"http://api.example.com:{clear.port}/").status == 200
    assert authorization(secure.requests[0]) == "Bearer t"
    assert authorization(clear.requests[0]) is None


def test_a_tasks_own_authorization_stays() -> None:
    """Metadata that the handler headers has set go before the ini."""
    settings = {"handlers": ("headers", "bearer"), "bearer_token": "ini"}
    with Peer(answering()) as peer, executing(base_url=peer.url, **settings) as run:
        assert run("/x", metadata={"headers": {"authorization": "Bearer own"}}).status == 200
    assert authorization(peer.requests[0]) == "Bearer own"


def test_an_odd_url_is_refused_as_without_credentials() -> None:
    """The handler says nothing about URLs that are refused anyway."""
    with executing(handlers=("bearer",), bearer_token="t", base_url="http://a.example") as run:
        assert run("http://user:pass@a.example/").error == (
            "url refused: holds credentials before an @: they belong in a header"
        )


@pytest.mark.parametrize("name", ["bearer", "basic"])
def test_credentials_that_cannot_be_used_are_told_at_once(name: str) -> None:
    """Without a value there is nothing to send, and without a host of the ini nowhere to send it."""
    with pytest.raises(ConfigError, match=r"queue q: handlers: .* needs a (bearer_token|basic_auth)"):
        Executor(QueueSettings("q", handlers=(name,), base_url="http://a"))
    with pytest.raises(ConfigError, match=r"queue q: \w+: needs base_url or allow_hosts") as caught:
        Executor(QueueSettings("q", handlers=(name,), bearer_token="hidden", basic_auth="hidden:x"))
    assert "hidden" not in str(caught.value)


def test_credentials_are_in_no_error() -> None:
    """Whatever goes wrong with the request."""

    def rude(visit: Visit) -> None:
        visit.read()
        visit.send(OK[:20])

    with (
        Peer(rude) as peer,
        executing(handlers=("bearer",), bearer_token="hidden", base_url=peer.url) as run,
    ):
        result = run("/x")
    assert result.error is not None
    assert "hidden" not in repr(result)
