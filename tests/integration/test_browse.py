"""A look into a queue: nothing is lost, nothing is moved, and only what was taken is gone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pika
import pytest

from sandbox.broker import Server
from taskqueue.browse import Browse, connect
from taskqueue.errors import NotDeclared
from taskqueue.settings import Settings
from tests.conftest import connect as connect_apart
from tests.integration.stage import eventually

COUNT = 1500
"""Several pages: the first has 200 messages, and each that follows twice as many."""


@pytest.fixture
def connection(broker: Server) -> Iterator[pika.BlockingConnection]:
    """Give a connection as the commands open it."""
    with connect(Settings(servers=(broker.url,)), name="test") as connection:
        yield connection


@pytest.fixture(params=["quorum", "classic"])
def filled(connection: pika.BlockingConnection, queue_name: str, request: pytest.FixtureRequest) -> str:
    """Give a queue with numbered messages, of each type."""
    channel = connection.channel()
    arguments = {"x-queue-type": request.param}
    if request.param == "quorum":
        arguments["x-delivery-limit"] = 2_000_000_000
    channel.queue_declare(queue_name, durable=True, arguments=arguments)
    for number in range(COUNT):
        basic = pika.BasicProperties(message_id=str(number), delivery_mode=2)
        channel.basic_publish("", queue_name, b"%d" % number, basic)
    eventually(lambda: _ready(connection, queue_name) == COUNT, "all messages ready")
    return queue_name


def _ready(connection: pika.BlockingConnection, queue: str) -> int:
    return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def _numbers(connection: pika.BlockingConnection, queue: str) -> list[int]:
    """Take all there is, in order, without any code under test."""
    channel = connection.channel()
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(int(got[2] or b""))
    return found


def _look(connection: pika.BlockingConnection, queue: str, *, until: int | None = None) -> list[int]:
    seen = []
    with Browse(connection, queue) as browse:
        for found in browse:
            seen.append(int(found.message.body))
            if seen[-1] == until:
                break
    return seen


def test_a_look_sees_all_in_order_and_leaves_all_in_order(
    connection: pika.BlockingConnection, filled: str
) -> None:
    """Page after page, and once it is over everything is ready again."""
    assert _look(connection, filled) == list(range(COUNT))
    assert _ready(connection, filled) == COUNT
    assert _numbers(connection, filled) == list(range(COUNT))


@pytest.mark.parametrize("looks", [(99, 9), (700, 99, 99), (None, 9, 700), (300, None, 300)])
def test_looks_of_any_length_after_each_other_move_nothing(
    connection: pika.BlockingConnection, filled: str, looks: tuple[int | None, ...]
) -> None:
    """A quorum queue appends what comes back to what came back before: the order must survive that."""
    for until in looks:
        assert _look(connection, filled, until=until) == list(range(COUNT if until is None else until + 1))
    assert _numbers(connection, filled) == list(range(COUNT))


def test_only_what_is_taken_is_gone(connection: pika.BlockingConnection, filled: str) -> None:
    """The others stay where they are, in a second look as in the first."""
    taken = {7, 250, 251, 1100, 1499}
    for wanted in ({7, 251, 1100}, {250, 1499}):
        with Browse(connection, filled) as browse:
            for found in browse:
                if int(found.message.body) in wanted:
                    browse.take(found)
    assert _numbers(connection, filled) == [number for number in range(COUNT) if number not in taken]


def test_a_limit_is_what_is_looked_at(connection: pika.BlockingConnection, filled: str) -> None:
    """It starts at the head."""
    with Browse(connection, filled, limit=3) as browse:
        assert [int(found.message.body) for found in browse] == [0, 1, 2]
    assert _ready(connection, filled) == COUNT


def test_what_comes_meanwhile_is_not_looked_at(connection: pika.BlockingConnection, filled: str) -> None:
    """So a replay ends, even where every task dies again at once."""
    channel = connection.channel()
    channel.confirm_delivery()
    handled = 0
    with Browse(connection, filled) as browse:
        for found in browse:
            channel.basic_publish("", filled, b"9999")
            browse.take(found)
            handled += 1
    assert handled == COUNT
    assert _numbers(connection, filled) == [9999] * COUNT


def test_a_look_ends_where_another_took_the_rest(connection: pika.BlockingConnection, filled: str) -> None:
    """It does not wait for messages that nobody will send."""
    with Browse(connection, filled) as browse:
        _numbers(connection, filled)
        assert list(browse) == []


def test_an_error_in_the_middle_returns_everything(connection: pika.BlockingConnection, filled: str) -> None:
    """As Ctrl-C does."""

    def interrupted() -> None:
        with Browse(connection, filled) as browse:
            for found in browse:
                if int(found.message.body) == 450:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _numbers(connection, filled) == list(range(COUNT))


def test_headers_that_pika_cannot_decode_are_a_fault_and_no_end(
    broker: Server, connection: pika.BlockingConnection, new_queue: Callable[[], str]
) -> None:
    """A message of another program must not keep an operator from looking."""
    queue = new_queue()
    connection.channel().queue_declare(queue, durable=True)
    nested: dict[str, Any] = {}
    for _ in range(1500):
        nested = {"n": nested}
    limit = sys.getrecursionlimit()
    with connect_apart(broker.url) as apart:
        sys.setrecursionlimit(20_000)
        try:
            apart.channel().basic_publish(
                amqp.Message(b"hostile", application_headers=nested), routing_key=queue
            )
        finally:
            sys.setrecursionlimit(limit)
    with Browse(connection, queue) as browse:
        (found,) = browse
        assert (found.message.body, found.message.headers) == (b"hostile", {})
        assert found.message.fault is not None


def test_a_queue_that_does_not_exist_says_what_to_do(
    connection: pika.BlockingConnection, queue_name: str
) -> None:
    """One line, with the command that helps."""
    with pytest.raises(NotDeclared, match=f"queue {queue_name} does not exist: run `taskqueue declare`"):
        Browse(connection, queue_name)
