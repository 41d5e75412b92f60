"""What is told while no connection comes about, and what is not: in a program, and by `taskqueue run`."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
import pytest

from sandbox.broker import Server
from sandbox.peer import Peer, Visit
from taskqueue import BrokerUnreachable, Client
from tests.support.stage import PATIENCE, Process, Stage

REFUSED = "amqp://guest:guest@127.0.0.1:9/"


def url(broker: Server, login: str, vhost: str) -> str:
    """Give the URL of the broker with another login and virtual host."""
    parts = urlsplit(broker.url)
    return f"amqp://{login}@{parts.hostname}:{parts.port}/{vhost}"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Give a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


@pytest.mark.parametrize("server", [REFUSED, "amqp://guest:guest@no..such..host/"])
def test_a_program_gets_one_line_of_ours_for_each_try(caplog: pytest.LogCaptureFixture, server: str) -> None:
    """And none of pika, which has some fifteen for it."""
    caplog.set_level(logging.INFO)
    with Client(server, timeout=5) as client, pytest.raises(BrokerUnreachable):
        client.send("/x")
    tries = [record for record in caplog.records if "can't connect" in record.getMessage()]
    assert tries
    assert {record.name.partition(".")[0] for record in caplog.records} == {"taskqueue"}


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"]
)
def test_what_is_no_broker_or_wants_tls_is_told_in_words(answer: bytes) -> None:
    """The port of a web server, or the one for TLS."""

    def play(visit: Visit) -> None:
        visit.sock.recv(8)
        visit.send(answer)

    with Peer(play) as peer:
        client = Client(f"amqp://guest:guest@127.0.0.1:{peer.port}/", timeout=20)
        with client, pytest.raises(BrokerUnreachable, match=r"hung up before it spoke AMQP: .* \(amqps\)"):
            client.send("/x")


def test_a_program_that_wants_to_see_pika_work_can(caplog: pytest.LogCaptureFixture) -> None:
    """By the level of its logger, as for any library."""
    caplog.set_level(logging.DEBUG, logger="pika")
    with Client(REFUSED, timeout=5) as client, pytest.raises(BrokerUnreachable):
        client.send("/x")
    assert any(record.name.startswith("pika.") for record in caplog.records)


def test_a_program_that_uses_pika_itself_still_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Only what comes of our connections is ours to leave out."""
    caplog.set_level(logging.WARNING, logger="pika")
    with Client(REFUSED, timeout=5) as client, pytest.raises(BrokerUnreachable):
        client.send("/x")
    caplog.clear()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(pika.URLParameters(REFUSED))
    assert any(record.name.startswith("pika.") for record in caplog.records)


@pytest.mark.parametrize(
    ("login", "vhost", "words"),
    [
        ("guest:wrong-password", "", "refused the login of user 'guest': check 'server'"),
        ("nobody:secret", "", "refused the login of user 'nobody': check 'server'"),
        ("guest:guest", "nowhere", "user 'guest' may not use virtual host 'nowhere' of "),
    ],
)
def test_a_refusal_of_the_broker_is_an_error_that_says_what_to_do(
    broker: Server, stage: Stage, login: str, vhost: str, words: str
) -> None:
    """A broker that is not there comes back; a wrong password stays one."""
    path = stage.path
    path.write_text(path.read_text().replace(stage.settings.servers[0], url(broker, login, vhost)))
    process = Process("run", "--config", str(path))
    process.wait_for("next try", times=2)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    told = [line for line in process.lines if "next try" in line]
    assert all(" error " in line and words in line and "check 'server'" in line for line in told)
    assert login.partition(":")[2] not in process.log.replace("user 'guest'", "")
    with Client(url(broker, login, vhost), timeout=60) as client, pytest.raises(BrokerUnreachable) as caught:
        client.send("/x", stage.name)
    assert words in str(caught.value)


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_stop_while_it_connects_is_a_stop(
    stage: Stage, silent: socket.socket, scheme: str, processes: str
) -> None:
    """To a broker that says nothing, with and without TLS."""
    port = silent.getsockname()[1]
    path = stage.path
    path.write_text(path.read_text().replace(stage.settings.servers[0], f"{scheme}://127.0.0.1:{port}/"))
    process = Process("run", "--config", str(path), "--processes", processes)
    connections = [silent.accept()[0] for _ in range(int(processes))]
    for connection in connections:
        assert connection.recv(1)
    process.signal(signal.SIGTERM)
    assert process.wait(30) == 0
    for connection in connections:
        connection.close()
    assert "Traceback" not in process.log
    assert "unexpected" not in process.log


def test_a_client_is_closed_while_it_connects(
    silent: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """Its thread ends, without a word."""
    client = Client(f"amqp://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.5)

    def send() -> None:
        with pytest.raises(BrokerUnreachable, match=r"no broker: .*: no answer in time"):
            client.send("/x")

    sending = threading.Thread(target=send)
    sending.start()
    connection, _ = silent.accept()
    with connection:
        assert connection.recv(1)
        sending.join(PATIENCE)
        client.close()
    assert "taskqueue-client" not in {thread.name for thread in threading.enumerate()}
    assert caplog.records == []
