"""No socket is left open, however early a connection that is being made is given up."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import pika
import pytest
from pika.adapters.utils.io_services_utils import _AsyncStreamConnector

from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection

PATIENCE = 30.0


class Nobody:
    """A user of a link that never gets a connection."""

    def connected(self, connection: TolerantConnection) -> None:
        """Never come: the peer says nothing."""

    def disconnected(self, reason: str) -> None:
        """Do nothing."""

    def unreachable(self, reason: str) -> None:
        """Do nothing."""

    def alarmed(self, *, now: bool) -> None:
        """Do nothing."""


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """Return a peer that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


@pytest.fixture
def linked(peer: socket.socket) -> Iterator[Callable[..., Link]]:
    """Make links to the peer; each is closed at the end."""
    links: list[Link] = []

    def make(ssl_options: pika.SSLOptions | None = None) -> Link:
        host, port = peer.getsockname()
        link = Link([pika.ConnectionParameters(host, port, ssl_options=ssl_options)], Nobody(), name="link")
        links.append(link)
        return link

    yield make
    for link in links:
        link.close(1)


def fail() -> None:
    """Raise what nobody expects."""
    msg = "a fault of ours"
    raise RuntimeError(msg)


def accept(peer: socket.socket) -> socket.socket:
    """Take the next connection."""
    connection, _ = peer.accept()
    connection.settimeout(PATIENCE)
    return connection


def expect_end(connection: socket.socket) -> None:
    """Wait until the other side has closed it."""
    with connection:
        try:
            while connection.recv(65_536):
                pass
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_a_handshake(linked: Callable[..., Link], peer: socket.socket, *, tls: bool, closed: bool) -> None:
    """The broker has said nothing yet, in plain text or in TLS."""
    options = pika.SSLOptions(ssl.create_default_context(), "localhost") if tls else None
    link = linked(ssl_options=options)
    link.start()
    connection = accept(peer)
    assert connection.recv(1)
    if closed:
        assert link.close(1)
    else:
        link.call(fail)
    expect_end(connection)


@pytest.mark.parametrize("closed", [False, True])
def test_what_has_just_connected(
    linked: Callable[..., Link], peer: socket.socket, monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    """Neither pika's connector nor a transport has the socket, for one turn of the loop."""
    link = linked()
    monkeypatch.setattr(_AsyncStreamConnector, "_start_async", lambda _: link._close(1) if closed else fail())
    link.start()
    expect_end(accept(peer))
