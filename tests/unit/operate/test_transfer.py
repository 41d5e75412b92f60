"""Tasks that are published anew, and taken from where they were once that is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from taskqueue.broker.asking import Channel
from taskqueue.errors import BrokerUnreachable, InvalidTask, PublishFailed, TaskqueueError
from taskqueue.operate.acting import Transfer
from taskqueue.task.message import Message, Publish

PUBLISH = Publish("mail.wait.due", ("mail",), Message(b"{}"))


class Confirms:
    """What a channel gives for each publish: confirms that a test settles."""

    def __init__(self) -> None:
        self.every: list[asyncio.Future[None]] = []

    def publish(self, _publish: Publish) -> asyncio.Future[None]:
        """Note one."""
        self.every.append(asyncio.get_running_loop().create_future())
        return self.every[-1]


class Run:
    """A transfer under way, and the numbers of what was taken."""

    def __init__(self) -> None:
        self.confirms = Confirms()
        self.taken: list[int] = []
        channel = cast("Channel", self.confirms)
        self.transfer = Transfer(channel, "mail", done="replayed", stays="stays dead")

    def put(self, number: int) -> Awaitable[None]:
        """Transfer one."""
        return self.transfer.put(PUBLISH, lambda: self.taken.append(number))

    async def tried(self) -> None:
        """Transfer the first one, which the broker takes."""
        first = asyncio.ensure_future(self.put(0))
        await asyncio.sleep(0)
        assert not first.done()
        self.confirms.every[0].set_result(None)
        await first


def in_loop(test: Callable[[Run], Awaitable[None]]) -> None:
    """Run a test in an event loop of its own."""

    async def main() -> None:
        await test(Run())

    asyncio.run(main())


def test_the_first_is_tried_alone_and_the_others_go_together() -> None:
    """A broker with an alarm says so only then, and what is out at that time may arrive later."""

    async def test(run: Run) -> None:
        await run.tried()
        for number in (1, 2, 3):
            await run.put(number)
        assert (run.taken, len(run.confirms.every)) == ([0], 4)
        for confirm in run.confirms.every[1:]:
            confirm.set_result(None)
        await run.transfer.settle()
        assert run.taken == [0, 1, 2, 3]

    in_loop(test)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PublishFailed("a queue is full"),
            "2 tasks of mail were replayed, and the next one was not confirmed",
        ),
        (InvalidTask("headers", "can't be written"), "it stays dead: headers: can't be written"),
        (BrokerUnreachable("lost the connection"), "lost the connection"),
    ],
)
def test_what_is_confirmed_beside_one_that_is_not_is_taken(error: TaskqueueError, words: str) -> None:
    """It would be there twice; the one that is not, and what nobody has confirmed, stay."""

    async def test(run: Run) -> None:
        await run.tried()
        for number in (1, 2, 3):
            await run.put(number)
        run.confirms.every[2].set_result(None)
        run.confirms.every[1].set_exception(error)
        with pytest.raises(TaskqueueError, match=words):
            await run.transfer.settle()
        assert run.taken == [0, 2]

    in_loop(test)


def test_several_that_wait_for_one_confirm_take_each_task_once() -> None:
    """As looks through several rungs share a transfer."""

    async def test(run: Run) -> None:
        waiting = [asyncio.ensure_future(run.put(number)) for number in range(5)]
        await asyncio.sleep(0)
        waiting[4].cancel()
        for confirm in run.confirms.every:
            confirm.set_result(None)
        await asyncio.gather(*waiting[:4])
        assert run.taken == [0, 1, 2, 3, 4]

    in_loop(test)
