"""A session of a command: what it is told is the answer to what it has asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import amqp
import pytest

from sandbox.broker import Server
from taskqueue.broker.session import Session, connected, run
from taskqueue.settings import Settings
from tests.conftest import connect
from tests.support.stage import eventually

HELD = (3, 5)
"""How many messages each of two queues holds."""


@pytest.fixture
def queues(broker: Server, new_queue: Callable[[], str]) -> tuple[str, str]:
    """Give two queues with messages."""
    first, second = new_queue(), new_queue()
    with connect(broker.url) as connection:
        channel = connection.channel()
        for queue, count in zip((first, second), HELD, strict=True):
            channel.queue_declare(queue, durable=True, auto_delete=False)
            for _ in range(count):
                channel.basic_publish(amqp.Message(b"{}", delivery_mode=2), "", queue)
    return first, second


def in_session(broker: Server, work: Callable[[Session], object]) -> None:
    """Run a coroutine in a session, as the commands do."""

    async def within() -> None:
        async with connected(Settings(servers=(broker.url,)), name="test") as session:
            await work(session)  # type: ignore[misc]

    run(within())


def test_a_question_that_was_given_up_leaves_no_answer_to_the_next(
    broker: Server, queues: tuple[str, str]
) -> None:
    """Whatever it had come to: an error of one look cancels all that are under way beside it."""
    first, second = queues

    async def ask(session: Session) -> None:
        # By now there is a channel, so that no moment goes by with opening one.
        await session.counts(first)
        for moments in range(12):
            given_up = asyncio.create_task(session.counts(first))
            for _ in range(moments):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            counts = await session.counts(second)
            assert counts is not None
            assert counts.ready == HELD[1]

    in_session(broker, ask)


def test_a_message_whose_taking_was_given_up_goes_back(broker: Server, queues: tuple[str, str]) -> None:
    """At once, and not only with the end of the session."""
    first, _ = queues

    def all_there() -> bool:
        with connect(broker.url) as connection:
            return bool(connection.channel().queue_declare(first, passive=True).message_count == HELD[0])

    async def ask(session: Session) -> None:
        async def take() -> None:
            async with session.channel() as channel:
                head = await channel.get(first)
                assert head is not None
                channel.requeue(head)

        for moments in range(12):
            given_up = asyncio.create_task(take())
            for _ in range(moments):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
        await asyncio.to_thread(eventually, all_there, "everything back")

    in_session(broker, ask)
