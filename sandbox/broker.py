"""The way to a broker for tests and demo: the one that is named, a private node, or a container."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import pika
from pika.exceptions import AMQPError

from sandbox.node import Broker, BrokerError, accepts, answers_amqp, cluster, find_script, free_ports

__all__ = [
    "Broker",
    "BrokerError",
    "Remote",
    "Server",
    "accepts",
    "answers_amqp",
    "cluster",
    "find_script",
    "free_ports",
    "obtain",
]

SERVER_VARIABLE = "TASKQUEUE_TEST_SERVER"
MANAGEMENT_VARIABLE = "TASKQUEUE_TEST_MANAGEMENT"
IMAGE = os.environ.get("TASKQUEUE_TEST_IMAGE", "rabbitmq:4-management")
_NO_BROKER = (
    f"no broker for the tests: run `make broker` to install rabbitmq-server, start docker, "
    f"or set {SERVER_VARIABLE}=amqp://user:password@host:5672/"
)


class Server(Protocol):
    """What every broker of `obtain` has."""

    @property
    def url(self) -> str:
        """Give the AMQP URL, with the login and the default vhost."""

    @property
    def management_url(self) -> str | None:
        """Give the URL of the management API with its login, None where there is none."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A broker that is not ours to start, stop or kill."""

    url: str
    management_url: str | None = None


@contextmanager
def obtain(*, management: bool = False) -> Iterator[Server]:
    """Get a broker: the one of TASKQUEUE_TEST_SERVER, a private local node, or a container.

    Raises BrokerError with one line that says what to do where there is none of them.
    """
    if server := os.environ.get(SERVER_VARIABLE):
        _check(server)
        yield Remote(server, os.environ.get(MANAGEMENT_VARIABLE))
    elif find_script() is not None:
        with Broker.start(management=management) as broker:
            yield broker
    else:
        with _container() as container:
            yield container


def _check(server: str) -> None:
    try:
        pika.BlockingConnection(pika.URLParameters(server)).close()
    except (AMQPError, OSError, ValueError) as error:
        # Host and port only: the URL holds a password.
        where = urlsplit(server).netloc.rpartition("@")[2]
        raise BrokerError(f"{SERVER_VARIABLE}: no AMQP broker to log in to at {where} ({error!r})") from None


@contextmanager
def _container() -> Iterator[Server]:
    with warnings.catch_warnings():
        # The module warns about its own import path, and about nothing of ours.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"testcontainers\b.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=r".*wait_container_is_ready.*")
        try:
            from testcontainers.community.rabbitmq import RabbitMqContainer  # noqa: PLC0415
        except ImportError:
            raise BrokerError(_NO_BROKER) from None
        try:
            container = RabbitMqContainer(IMAGE).with_exposed_ports(5672, 15672).start()
        except Exception as error:
            raise BrokerError(f"{_NO_BROKER} (docker: {str(error).splitlines()[0]})") from error
    try:
        host = container.get_container_host_ip()
        at = {port: f"guest:guest@{host}:{container.get_exposed_port(port)}/" for port in (5672, 15672)}
        yield Remote(f"amqp://{at[5672]}", f"http://{at[15672]}" if "management" in IMAGE else None)
    finally:
        container.stop()
