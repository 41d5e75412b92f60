"""A client that is closed beside its sends: each ends at once, by an error or a confirm."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from taskqueue import AsyncClient, Client, PublishFailed
from tests.support.silent import Silent
from tests.support.stage import PATIENCE, Stage, eventually

WORDS = "the client was closed before the broker had confirmed: send again with the same id"


def together(client: Client, sends: Callable[[], object], ready: Callable[[], bool]) -> list[str]:
    """Close a client beside eight threads that send, and give what each was told."""
    told: list[str] = []

    def work() -> None:
        try:
            sends()
        except PublishFailed as error:
            told.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(ready, "sends on their way")
    began = time.monotonic()
    client.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert time.monotonic() - began < PATIENCE
    return told


def test_sends_that_wait_for_a_connection_end_at_once() -> None:
    """Nobody waits for a server that says nothing, once there is nobody to say it to."""
    with Silent() as server:
        client = Client(f"amqp://127.0.0.1:{server.port}/", timeout=600)
        sender = client._producer.sender()
        told = together(client, lambda: client.send("/x"), lambda: len(sender._unfinished) == 8)
    assert told == [WORDS] * 8


def test_sends_of_many_tasks_end_at_once_and_a_later_one_is_sent(stage: Stage) -> None:
    """What is confirmed by then stays sent; the closed client connects again where it is used again."""
    client = Client(stage.settings.servers[0], timeout=600)

    def sends() -> None:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(1_000_000))

    assert together(client, sends, lambda: stage.depth() > 100) == [WORDS] * 8
    client.send("/later", stage.name)
    client.close()


def test_sends_of_an_async_client_end_at_once() -> None:
    """In the loop that closes it."""

    async def sends(url: str) -> list[BaseException | str]:
        client = AsyncClient(url, timeout=600)
        tasks = [asyncio.create_task(client.send("/x")) for _ in range(8)]
        await asyncio.sleep(0)
        await client.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Silent() as server:
        began = time.monotonic()
        ended = asyncio.run(sends(f"amqp://127.0.0.1:{server.port}/"))
    assert [str(each) for each in ended] == [WORDS] * 8
    assert {type(each) for each in ended} == {PublishFailed}
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("times", [1, 2])
def test_a_client_that_never_sent_is_closed(times: int) -> None:
    """As often as one likes."""
    client = Client("amqp://127.0.0.1:9/")
    for _ in range(times):
        client.close()
