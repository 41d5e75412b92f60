"""A broker over TLS: it is verified, and gets a client certificate where it wants one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from sandbox.broker import Broker, accepts, free_ports
from sandbox.receiver import Receiver
from taskqueue.broker.connect import connect, parameters, version
from taskqueue.consume.consumer import Consumer
from taskqueue.consume.metrics import NullMetrics
from taskqueue.declare.apply import declare
from taskqueue.errors import BrokerUnreachable, ConfigError
from taskqueue.send.client import Client
from taskqueue.settings import QueueSettings, Settings
from tests.support.stage import eventually


@dataclass(frozen=True, slots=True)
class Secured:
    """A node that speaks TLS on `port` and wants a client certificate of the same authority."""

    port: int
    ca_file: Path
    cert_file: Path
    key_file: Path

    def settings(self, host: str = "127.0.0.1") -> Settings:
        """Give the settings that reach it."""
        return Settings(
            servers=(f"amqps://guest:guest@{host}:{self.port}/",),
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Start such a node."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.org")
    files = {name: folder / f"{name}.pem" for name in ("ca", "server", "server_key", "client", "client_key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    server.cert_chain_pems[0].write_to_path(str(files["server"]))
    server.private_key_pem.write_to_path(str(files["server_key"]))
    client.cert_chain_pems[0].write_to_path(str(files["client"]))
    client.private_key_pem.write_to_path(str(files["client_key"]))
    (port,) = free_ports(1)
    config = [
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {files['ca']}",
        f"ssl_options.certfile = {files['server']}",
        f"ssl_options.keyfile = {files['server_key']}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    ]
    with Broker.start(config=config):
        # The node is ready when its other port is; this one opens a moment later.
        eventually(lambda: accepts(port), "the port for TLS")
        yield Secured(port, files["ca"], files["client"], files["client_key"])


def test_a_verified_broker_is_connected_to(secured: Secured) -> None:
    """With the authority of the configuration and the certificate it wants."""
    with connect(secured.settings(), name="test") as connection:
        assert version(connection) >= (3, 10)


def test_tasks_are_declared_sent_and_run_over_tls(secured: Secured, receiver: Receiver) -> None:
    """Client and consumer, with their own kind of connection, verify and show the certificate too."""
    queue = QueueSettings("q", base_url=receiver.url, min_backoff_seconds=0.1, jitter=0)
    settings = replace(secured.settings(), levels=2, queues={"q": queue})
    declare(settings)
    receiver.answer("/x", [500, 200])
    with Client(settings=settings) as client:
        client.send("/x", "q", countdown=0.2)
    consumer = Consumer(settings, parameters(settings), NullMetrics())
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        attempts = receiver.wait_for(2)
    finally:
        consumer.stop()
        thread.join()
    assert [each.headers["Taskqueue-Attempt"] for each in attempts] == ["1", "2"]


def test_a_client_refuses_a_broker_of_another_name(secured: Secured) -> None:
    """It gives up within its timeout, and says why."""
    client = Client(settings=secured.settings(host="localhost"), timeout=10)
    with pytest.raises(BrokerUnreachable, match=r"(?i)certificate verify failed"):
        client.send("/x", "q")
    client.close()


def test_a_broker_of_an_unknown_authority_is_refused(secured: Secured) -> None:
    """The system's authorities do not know it."""
    with pytest.raises(BrokerUnreachable, match=r"(?i)certificate verify failed"):
        connect(replace(secured.settings(), ca_file=None), name="test")


def test_a_broker_of_another_name_is_refused(secured: Secured) -> None:
    """The certificate is for 127.0.0.1 and not for localhost."""
    with pytest.raises(BrokerUnreachable, match="localhost"):
        connect(secured.settings(host="localhost"), name="test")


def test_a_broker_that_wants_a_certificate_refuses_without_one(secured: Secured) -> None:
    """It is no endless wait."""
    with pytest.raises(BrokerUnreachable):
        connect(replace(secured.settings(), cert_file=None, key_file=None), name="test")


def test_a_tls_file_that_can_not_be_read_is_named(secured: Secured, tmp_path: Path) -> None:
    """Which key and which file."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigError, match=f"ca_file: can't use {missing}"):
        parameters(replace(secured.settings(), ca_file=missing))
    with pytest.raises(ConfigError, match=f"cert_file: can't use {missing}"):
        parameters(replace(secured.settings(), cert_file=missing))


def test_the_url_can_say_what_pika_takes(secured: Secured) -> None:
    """A heartbeat of its own, else ours; the name shows in the broker."""
    server = f"amqps://guest:guest@127.0.0.1:{secured.port}/"
    ours, theirs = parameters(Settings(servers=(server, f"{server}?heartbeat=7")), name="me")
    assert (ours.heartbeat, theirs.heartbeat) == (30, 7)
    assert ours.client_properties == {"connection_name": "me"}


@pytest.mark.parametrize("url", ["amqp://user@host/", "amqp://u:s3cret@host:99999/"])
def test_a_url_that_pika_can_not_use_is_an_error_without_its_password(url: str) -> None:
    """In no message, and in no cause of it."""
    with pytest.raises(ConfigError) as caught:
        parameters(Settings(servers=(url,)))
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"
