"""What was found last: looked for once for many, and given again where a look takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from taskqueue.errors import NotKnown
from taskqueue.web.latest import FRESH, OLD, Latest


class Looks:
    """Looks that end when the test says so, and a clock that goes on when it says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.now = 0.0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def look(self) -> int:
        """Give the number of the look."""
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return number


def run(test: Callable[[Looks, Latest[int]], Awaitable[None]]) -> None:
    """Run a test in a loop of its own."""

    async def main() -> None:
        looks = Looks()
        await test(looks, Latest(looks.look, lambda: looks.now))

    asyncio.run(main())


def test_many_who_ask_at_once_get_one_look() -> None:
    """And who asks a moment later gets it again."""

    async def test(looks: Looks, latest: Latest[int]) -> None:
        assert await asyncio.gather(*(latest.get() for _ in range(20))) == [1] * 20
        looks.now += FRESH / 2
        assert await latest.get() == 1
        looks.now += FRESH
        assert await latest.get() == 2

    run(test)


def test_where_a_look_takes_long_what_was_found_before_is_given() -> None:
    """Unless that is old, or there is nothing."""

    async def test(looks: Looks, latest: Latest[int]) -> None:
        assert await latest.get() == 1
        looks.may_end.clear()
        looks.now += FRESH
        assert await latest.get() == 1
        assert await latest.get() == 1
        assert looks.begun == 2
        looks.now += OLD
        waiting = asyncio.create_task(latest.get())
        await asyncio.sleep(0)
        looks.may_end.set()
        assert await waiting == 2

    run(test)


def test_after_a_change_nothing_of_before_is_given() -> None:
    """Nor by a look that goes on then."""

    async def test(looks: Looks, latest: Latest[int]) -> None:
        assert await latest.get() == 1
        looks.may_end.clear()
        looks.now += FRESH
        assert await latest.get() == 1
        latest.changed()
        waiting = asyncio.create_task(latest.get())
        await asyncio.sleep(0)
        looks.may_end.set()
        assert await waiting == 3
        assert await latest.get() == 3

    run(test)


def test_a_look_that_fails_is_told_and_the_next_one_looks_again() -> None:
    """To all who wait for it."""

    async def test(looks: Looks, latest: Latest[int]) -> None:
        looks.error = NotKnown("no answer")
        for each in await asyncio.gather(latest.get(), latest.get(), return_exceptions=True):
            assert isinstance(each, NotKnown)
        looks.error = None
        assert await latest.get() == 2
        looks.now += FRESH
        looks.error = NotKnown("no answer")
        with pytest.raises(NotKnown):
            await latest.get()

    run(test)


def test_its_end_ends_a_look_that_goes_on() -> None:
    """And waits for that."""

    async def test(looks: Looks, latest: Latest[int]) -> None:
        looks.may_end.clear()
        waiting = asyncio.create_task(latest.get())
        await asyncio.sleep(0)
        await latest.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(test)
