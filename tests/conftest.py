"""What every test can ask for: a broker, a receiver, names that nobody else uses."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
import hypothesis
import pytest

from sandbox.broker import Broker, BrokerError, Server, find_script, obtain
from sandbox.receiver import Receiver
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from tests.support.admin import Admin
from tests.support.stage import Stage

# Whatever a test makes of these is gone after it: to delete what does not exist is no error.
LADDERS = tuple(Ladder(Decimal(resolution), levels=9) for resolution in ("0.01", "0.1", "1"))

# A busy machine is no failure; and what CI finds, it finds again.
hypothesis.settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("patient")

# Nodes keep their data in memory where there is much of it, as tests would wait for the disk. What SIGKILL
# leaves behind is the same there.
MEMORY = Path("/dev/shm")  # noqa: S108 each node has a folder of its own there
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 8 * 2**30 and os.access(MEMORY, os.W_OK):
    Broker.kept_in = MEMORY

# Started in the background of a shell, or by nohup, we ignore these, and so would every command of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


_NODES_OF_FILES = frozenset({"broker_of_this_file", "node"})
"""Fixtures of one file each, with a node that all of its tests share."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have each process begin with its share of the slow tests, so that none has them left at the end.

    pytest-xdist gives each an equal part of the list, one after the other.
    """
    processes = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    groups: dict[object, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            # To start a node takes longer than most tests on it, so one process has all that share it.
            shares = not _NODES_OF_FILES.isdisjoint(getattr(item, "fixturenames", ()))
            groups.setdefault(item.path if shares else item, []).append(item)
    slow: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(slow, key=len).extend(group)
    quick = [item for item in items if not item.get_closest_marker("slow")]
    size = len(items) // processes
    spread: list[pytest.Item] = []
    for share in slow:
        spread += [*share, *quick[: size - len(share)]]
        del quick[: size - len(share)]
    items[:] = [*spread, *quick]


@pytest.fixture(scope="session")
def broker() -> Iterator[Server]:
    """Give a broker that is there for the whole run; none is a failure and never a skip."""
    try:
        with obtain(management=True) as server:
            yield server
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def admin(broker: Server) -> Iterator[Admin]:
    """Give a virtual host of this test's own, and what makes users of it and limits."""
    admin = Admin(broker)
    yield admin
    admin.close()


@pytest.fixture
def private_broker() -> Iterator[Broker]:
    """Give a node of this test's own, to be killed and restarted at will."""
    if find_script() is None and "CI" not in os.environ:
        pytest.skip("no local rabbitmq-server to kill and restart: run `make broker`")
    with Broker.start() as node:
        yield node


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give an HTTP server that records requests and answers as the test programs it."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def staged(broker: Server, receiver: Receiver, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Give a maker of declared queues; keyword arguments are keys of the ini, or another `server`."""
    stages: list[Stage] = []

    def make(server: str | None = None, **keys: Any) -> Stage:
        stage = Stage(server or broker.url, receiver, tmp_path, **keys)
        stages.append(stage)
        return stage.declare()

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give one declared queue with quick retries."""
    return staged()


@pytest.fixture
def own_stage(private_broker: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue on a node that this test may kill, and restart."""
    stage = Stage(private_broker.url, receiver, tmp_path).declare()
    private_broker.sync()
    yield stage
    stage.stop()


@pytest.fixture
def new_queue(broker: Server) -> Iterator[Callable[[], str]]:
    """Give unique queue names; all that belongs to them in `broker` is deleted after the test."""
    given: list[str] = []

    def new() -> str:
        given.append(f"t-{secrets.token_hex(4)}")
        return given[-1]

    yield new
    with connect(broker.url) as connection:
        channel = connection.channel()
        for queue in given:
            _delete(channel, queue)


@pytest.fixture
def queue_name(new_queue: Callable[[], str]) -> str:
    """Give one unique queue name."""
    return new_queue()


def connect(url: str) -> amqp.Connection:
    """Open a connection of py-amqp, which shares no code with taskqueue."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        confirm_publish=True,
    )
    connection.connect()
    return connection


def _delete(channel: amqp.Channel, queue: str) -> None:
    queues = {queue, names.dead(queue), names.paused(queue), names.pause_note(queue)}
    exchanges = {names.dead(queue), names.wait(queue), names.due(queue), names.control(queue)}
    queues |= {names.looked(queue), names.probe(queue), names.probed(queue)}
    for ladder in LADDERS:
        queues |= {names.rung(queue, ladder.ttl(rung)) for rung in ladder.rungs()}
        exchanges |= {names.level(queue, ladder.unit(level)) for level in range(ladder.levels)}
    for name in queues:
        channel.queue_delete(name, nowait=True)
    for name in exchanges:
        channel.exchange_delete(name, nowait=True)
    # The broker works a channel off in order: once it answers, everything above is done.
    channel.basic_qos(0, 1, a_global=False)


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Give the root logger back its handlers after a test that starts the log of a process."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(capture=False)
