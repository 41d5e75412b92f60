"""The client for asyncio: the same as Client in all but that nothing waits in a thread of the program."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue import (
    AsyncClient,
    BrokerUnreachable,
    Client,
    ConfigError,
    InvalidTask,
    NotDeclared,
    PublishFailed,
)
from tests.support.stage import PATIENCE, Stage, eventually


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test in a loop of its own, bounded."""

    async def bounded() -> None:
        async with asyncio.timeout(4 * PATIENCE):
            await coroutine

    asyncio.run(bounded())


def test_it_takes_what_a_client_takes() -> None:
    """The same names in the same order."""
    for method in ("send", "send_many", "from_config", "__init__"):
        ours, theirs = (inspect.signature(getattr(kind, method)).parameters for kind in (AsyncClient, Client))
        assert [*ours] == [*theirs]
    assert inspect.iscoroutinefunction(AsyncClient.send_many)


def test_a_task_is_confirmed_and_runs(stage: Stage, receiver: Receiver) -> None:
    """At its time, with its payload."""

    async def sends() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            sent = await client.send("/x", {"a": 1}, queue=stage.name, id="mine", countdown=0.5)
            assert sent == "mine"

    began = time.time()
    run(sends())
    stage.consume()
    (request,) = receiver.wait_for(1)
    assert (request.path, request.body, request.headers["Taskqueue-Id"]) == ("/x", b'{"a":1}', "mine")
    assert request.at - began >= 0.5


def test_a_thousand_sends_at_once_share_a_connection(stage: Stage) -> None:
    """And one thread beside that of the loop."""
    threads: list[int] = []

    async def sends() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            before = threading.active_count()
            ids = await asyncio.gather(
                *(client.send("/x", stage.name, id=str(number)) for number in range(1000))
            )
            # One that pika ends looks the broker's name up.
            threads.append(threading.active_count() - before)
            assert ids == [str(number) for number in range(1000)]

    run(sends())
    assert threads[0] <= 2
    assert stage.depth() == 1000


def test_many_are_streamed_while_the_loop_goes_on(stage: Stage) -> None:
    """More than a window, from a generator; another coroutine has its turns meanwhile."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def sends() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            other = asyncio.create_task(others())
            ids = await client.send_many(
                {"url": "/x", "queue": stage.name, "id": str(number)} for number in range(1500)
            )
            other.cancel()
            assert ids == [str(number) for number in range(1500)]

    run(sends())
    assert stage.depth() == 1500
    assert turns > 5


def test_several_loops_may_use_one_client(stage: Stage) -> None:
    """A client of a module lives longer than the loop of a test, or of a command."""
    client = AsyncClient.from_config(stage.path)

    async def sends() -> None:
        await client.send("/x", stage.name)

    run(sends())
    run(sends())
    run(client.close())
    assert stage.depth() == 2


def test_the_errors_are_those_of_a_client(stage: Stage) -> None:
    """In the same words, and the next send is as if nothing had been."""

    async def sends() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            with pytest.raises(InvalidTask, match="countdown: must be from 0"):
                await client.send("/x", stage.name, countdown=-1)
            with pytest.raises(ConfigError, match="queue 'nope' is in no section"):
                await client.send("/x", "nope")
            with pytest.raises(TypeError, match="send takes no delay"):
                await client.send_many([{"url": "/x", "queue": stage.name, "delay": 3}])
        async with AsyncClient(stage.settings.servers[0]) as client:
            with pytest.raises(NotDeclared, match="queue 'nope' is not declared"):
                await client.send("/x", "nope")
            await client.send("/x", stage.name)

    run(sends())
    assert stage.depth() == 1


def test_no_broker_is_told_to_everybody_who_sends() -> None:
    """Soon, and without the password."""

    async def sends() -> None:
        async with AsyncClient("amqp://me:hunter2@127.0.0.1:9/") as client:
            ended = await asyncio.gather(*(client.send("/x") for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in ended} == {BrokerUnreachable}
        assert "hunter2" not in str(ended)

    began = time.monotonic()
    run(sends())
    assert time.monotonic() - began < PATIENCE


def test_a_send_that_is_cancelled_is_not_sent_later(private_broker: Broker, own_stage: Stage) -> None:
    """The broker is down while a hundred wait for it; when it is back, only what is still wanted is sent."""

    async def sends() -> None:
        async with AsyncClient.from_config(own_stage.path, timeout=4 * PATIENCE) as client:
            await client.send("/before", own_stage.name)
            await asyncio.to_thread(private_broker.kill)
            sender = client._producer.sender()
            waiting = [asyncio.create_task(client.send("/down", own_stage.name)) for _ in range(100)]
            wanted = asyncio.create_task(client.send("/wanted", own_stage.name))
            await asyncio.to_thread(eventually, lambda: len(sender._waiting) == 101, "all waiting")
            for task in waiting:
                task.cancel()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(each) for each in ended} == {asyncio.CancelledError}
            await asyncio.to_thread(private_broker.restart)
            await wanted
            await client.send("/after", own_stage.name)
            assert not sender._waiting

    run(sends())
    assert own_stage.depth() == 3


def test_cancelling_some_costs_the_others_nothing(stage: Stage) -> None:
    """Whatever they were at: all that were not cancelled are in the queue, and none twice."""

    async def sends() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            tasks = [asyncio.create_task(client.send("/x", stage.name, id=f"{n}")) for n in range(300)]
            # Some are cancelled before they begin, some on their way.
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        kept.update(each for each in ended if isinstance(each, str))
        assert all(isinstance(each, (str, asyncio.CancelledError)) for each in ended)

    kept: set[str] = set()
    run(sends())
    assert {str(n) for n in range(300) if n % 3} <= kept
    with stage.connection() as connection:
        channel = connection.channel()
        there = [channel.basic_get(stage.name, auto_ack=True)[1] for _ in range(stage.depth())]
    ids = [properties.message_id for properties in there if properties is not None]
    assert kept <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_loop_that_ends_before_its_confirms_harms_no_other(stage: Stage) -> None:
    """The I/O thread outlives it, and so does the connection."""
    client = AsyncClient.from_config(stage.path)

    async def leaves() -> None:
        for _ in range(200):
            asyncio.create_task(client.send("/x", stage.name))  # noqa: RUF006 nobody waits: that is the test
        await asyncio.sleep(0)

    async def stays() -> None:
        sender = client._producer.sender()
        await client.send("/after", stage.name)
        assert client._producer.sender() is sender
        await client.close()

    run(leaves())
    run(stays())
    assert stage.depth() >= 1


def test_a_broker_that_is_silent_raises_after_the_timeout(private_broker: Broker, own_stage: Stage) -> None:
    """The loop waits no longer than a thread would."""

    async def sends() -> None:
        async with AsyncClient.from_config(own_stage.path) as client:
            await client.send("/before", own_stage.name)
            await asyncio.to_thread(private_broker.kill)
            client._timeout = 0.5
            with pytest.raises(PublishFailed, match=r"did not confirm in time .*: 0 confirmed, 1 not"):
                await client.send("/down", own_stage.name)

    run(sends())
    private_broker.restart()
