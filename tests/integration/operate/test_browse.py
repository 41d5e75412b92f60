"""A look into a queue: nothing is lost, nothing is moved, and only what was taken is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import amqp
import pika
import pytest

from sandbox.broker import Server
from taskqueue.broker import connect as hosts
from taskqueue.broker import session as broker_session
from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import Counts
from taskqueue.broker.session import Session, connected, run
from taskqueue.errors import NotDeclared, NotKnown
from taskqueue.operate import browse
from taskqueue.settings import Settings
from tests.conftest import connect as connect_apart
from tests.support.stage import eventually

COUNT = 1500
"""Two pages: the first has 1000 messages."""
LOOK_AND_STAY = """
import asyncio, sys
from taskqueue.operate import browse
from taskqueue.broker.session import connected
from taskqueue.settings import Settings

async def main(server, queue):
    async with connected(Settings(servers=(server,)), name="test") as session:
        async with browse.look(session, queue) as looking:
            async for found in looking:
                if found.message.body == b"700":
                    print("there", flush=True)
                    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""

InSession = Callable[[Callable[[Session], Awaitable[Any]]], Any]


@pytest.fixture
def in_session(broker: Server) -> InSession:
    """Give what runs a coroutine in a session, as the commands do."""

    async def within(work: Callable[[Session], Awaitable[Any]]) -> Any:
        async with connected(Settings(servers=(broker.url,)), name="test") as session:
            return await work(session)

    return lambda work: run(within(work))


@pytest.fixture
def connection(broker: Server) -> Iterator[pika.BlockingConnection]:
    """Give a connection apart from what is tested."""
    with hosts.connect(Settings(servers=(broker.url,)), name="test") as connection:
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


def _consumers(connection: pika.BlockingConnection, queue: str) -> int:
    return int(connection.channel().queue_declare(queue, passive=True).method.consumer_count)


def _numbers(connection: pika.BlockingConnection, queue: str) -> list[int]:
    """Take all there is, in order, without any code under test."""
    channel = connection.channel()
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(int(got[2] or b""))
    return found


async def _look(session: Session, queue: str, *, until: int | None = None) -> list[int]:
    seen = []
    async with browse.look(session, queue) as looking:
        async for found in looking:
            seen.append(int(found.message.body))
            if seen[-1] == until:
                break
    return seen


def test_a_look_sees_all_in_order_and_leaves_all_in_order(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """Page after page, and once it is over everything is ready again."""
    assert in_session(lambda session: _look(session, filled)) == list(range(COUNT))
    assert _ready(connection, filled) == COUNT
    assert _numbers(connection, filled) == list(range(COUNT))


@pytest.mark.parametrize("looks", [(99, 9), (700, 99, 99), (None, 9, 700), (300, None, 300)])
def test_looks_of_any_length_after_each_other_move_nothing(
    in_session: InSession, connection: pika.BlockingConnection, filled: str, looks: tuple[int | None, ...]
) -> None:
    """A quorum queue appends what comes back to what came back before: the order must survive that."""

    async def look_each(session: Session) -> None:
        for until in looks:
            expected = list(range(COUNT if until is None else until + 1))
            assert await _look(session, filled, until=until) == expected

    in_session(look_each)
    assert _numbers(connection, filled) == list(range(COUNT))


def test_only_what_is_taken_is_gone(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """The others stay where they are, in a second look as in the first."""
    taken = {7, 250, 251, 1100, 1499}

    async def take(session: Session) -> None:
        for wanted in ({7, 251, 1100}, {250, 1499}):
            async with browse.look(session, filled) as looking:
                async for found in looking:
                    if int(found.message.body) in wanted:
                        looking.take(found)

    in_session(take)
    assert _numbers(connection, filled) == [number for number in range(COUNT) if number not in taken]


def test_a_limit_is_what_is_looked_at(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """It starts at the head."""

    async def look(session: Session) -> list[int]:
        async with browse.look(session, filled, limit=3) as looking:
            return [int(found.message.body) async for found in looking]

    assert in_session(look) == [0, 1, 2]
    assert _ready(connection, filled) == COUNT


def test_what_comes_meanwhile_is_not_looked_at(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """So a replay ends, even where every task dies again at once."""
    channel = connection.channel()
    channel.confirm_delivery()

    async def take(session: Session) -> int:
        handled = 0
        async with browse.look(session, filled) as looking:
            async for found in looking:
                channel.basic_publish("", filled, b"9999")
                looking.take(found)
                handled += 1
        return handled

    assert in_session(take) == COUNT
    assert _numbers(connection, filled) == [9999] * COUNT


def test_a_look_ends_where_another_took_the_rest(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """It does not wait for messages that nobody will send."""

    async def look(session: Session) -> list[Any]:
        async with browse.look(session, filled) as looking:
            _numbers(connection, filled)
            return [found async for found in looking]

    assert in_session(look) == []


def test_an_error_in_the_middle_returns_everything(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """As Ctrl-C does."""

    async def interrupted(session: Session) -> None:
        async with browse.look(session, filled) as looking:
            async for found in looking:
                if int(found.message.body) == 450:
                    raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        in_session(interrupted)
    eventually(lambda: _ready(connection, filled) == COUNT, "everything back")
    assert _numbers(connection, filled) == list(range(COUNT))


def test_a_look_right_after_one_that_was_killed_sees_everything(
    broker: Server, in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """It waits until the broker has taken back what the other process held."""
    command = [sys.executable, "-c", LOOK_AND_STAY, broker.url, filled]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        other.kill()
        assert sorted(in_session(lambda session: _look(session, filled))) == list(range(COUNT))
    assert sorted(_numbers(connection, filled)) == list(range(COUNT))


def test_a_second_look_waits_for_the_first_and_sees_everything(in_session: InSession, filled: str) -> None:
    """The first one is not hurried, and misses nothing either."""

    async def both(session: Session) -> tuple[list[int], list[int], bool]:
        async with browse.look(session, filled) as looking:
            seen = aiter(looking)
            first = [int((await anext(seen)).message.body)]
            second = asyncio.create_task(_look(session, filled))
            first += [int(found.message.body) async for found in seen]
            waited = not second.done()
        return first, await second, waited

    everything = list(range(COUNT))
    assert in_session(both) == (everything, everything, True)


def test_a_late_leader_does_not_make_what_another_look_holds_absent(
    in_session: InSession, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker counts nothing then, not even the consumers of the other look, and its head is empty."""
    answers = iter([Counts(0, 0)])
    told = asyncio.Event()

    async def late(channel: Channel, queue: str) -> Counts:
        if (zeros := next(answers, None)) is not None:
            return zeros
        told.set()
        return await declared(channel, queue)

    declared = broker_session._declared

    async def both(session: Session) -> list[int]:
        async with browse.look(session, filled) as looking:
            assert len([found async for found in looking]) == COUNT
            monkeypatch.setattr(broker_session, "_declared", late)
            second = asyncio.create_task(_look(session, filled))
            waits = asyncio.create_task(told.wait())
            await asyncio.wait([second, waits], return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
        return await second

    assert in_session(both) == list(range(COUNT))


@pytest.mark.parametrize("left", [1, COUNT])
def test_what_another_look_gives_back_after_a_late_zero_is_seen(
    in_session: InSession,
    connection: pika.BlockingConnection,
    filled: str,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
) -> None:
    """Nobody else has a consumer by then, so that alone proves nothing; a single one goes to our consumer."""
    counted = Session.counts

    async def both(session: Session) -> list[int]:
        async with AsyncExitStack() as first:
            looking = await first.enter_async_context(browse.look(session, filled))
            async for found in looking:
                if int(found.message.body) >= left:
                    looking.take(found)

            async def late(_session: Session, _queue: str) -> Counts | None:
                monkeypatch.setattr(Session, "counts", counted)
                await first.aclose()
                return Counts(ready=0, consumers=0)

            monkeypatch.setattr(Session, "counts", late)
            return await _look(session, filled)

    assert in_session(both) == list(range(left))
    assert _numbers(connection, filled) == list(range(left))


def test_a_queue_is_empty_where_nothing_is_ready_and_nobody_holds_any(
    in_session: InSession, connection: pika.BlockingConnection, filled: str
) -> None:
    """To prove that costs no wait, and leaves no consumer."""
    connection.channel().queue_purge(filled)

    async def count(session: Session) -> tuple[int, list[int]]:
        return await browse.count(session, filled), await _look(session, filled)

    assert in_session(count) == (0, [])
    eventually(lambda: _consumers(connection, filled) == 0, "no consumer")


def test_a_look_that_another_one_keeps_waiting_says_that_it_is_not_known(
    in_session: InSession, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than to show a part for the whole."""
    monkeypatch.setattr(browse, "_PATIENCE", 1.0)

    async def both(session: Session) -> None:
        async with browse.look(session, filled) as looking:
            async for _ in looking:
                with pytest.raises(NotKnown, match="somebody else holds messages of it"):
                    await _look(session, filled)
                break

    in_session(both)


def test_looks_that_begin_at_the_same_moment_see_everything_or_say_that_they_do_not(
    in_session: InSession, connection: pika.BlockingConnection, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them shows its share for the whole."""
    monkeypatch.setattr(browse, "_PATIENCE", 5.0)

    async def all_at_once(session: Session) -> list[list[int] | BaseException]:
        looks = [_look(session, filled) for _ in range(3)]
        return await asyncio.gather(*looks, return_exceptions=True)

    for found in in_session(all_at_once):
        assert isinstance(found, NotKnown) or sorted(found) == list(range(COUNT))
    assert sorted(_numbers(connection, filled)) == list(range(COUNT))


def test_headers_that_pika_cannot_decode_are_a_fault_and_no_end(
    broker: Server,
    in_session: InSession,
    connection: pika.BlockingConnection,
    new_queue: Callable[[], str],
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

    async def look(session: Session) -> list[Any]:
        async with browse.look(session, queue) as looking:
            return [found.message async for found in looking]

    (message,) = in_session(look)
    assert (message.body, message.headers) == (b"hostile", {})
    assert message.fault is not None


def test_a_queue_that_does_not_exist_says_what_to_do(in_session: InSession, queue_name: str) -> None:
    """One line, with the command that helps."""
    with pytest.raises(NotDeclared, match=f"queue {queue_name} does not exist: run `taskqueue declare`"):
        in_session(lambda session: _look(session, queue_name))
