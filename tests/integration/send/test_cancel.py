"""A program cancels what waits, on a real broker: what is found, what is not, and what it costs others."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

import pytest

from taskqueue import AsyncClient, InvalidTask, NotDeclared, NotKnown
from taskqueue.topology import names
from tests.support import command
from tests.support.raw_headers import Raw, entry
from tests.support.stage import PATIENCE, Stage, eventually


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give a queue whose ladder holds tasks for up to 999 s."""
    return staged(resolution=1)


def test_what_waits_is_cancelled_and_all_else_is_left_alone(stage: Stage) -> None:
    """Each copy of it; what is ready, unknown, or was cancelled before is told as not waiting."""
    eta = time.time() + 600
    with stage.client() as client:
        for task, later in (("twice", eta), ("twice", eta + 1), ("kept", eta), ("ready", None)):
            client.send("/x", stage.name, id=task, eta=later, roll_back="/sorry")
        told = client.cancel_many(["nope", "twice", "ready"], stage.name)
        assert told == [False, True, False]
        assert client.cancel("twice", stage.name) is False
    (kept,) = command.read(stage.path, "waiting", "list", stage.name)
    assert kept["id"] == "kept"
    dead = command.read(stage.path, "dead", "list", stage.name)
    assert [(row["id"], row["reason"]) for row in dead] == [("twice", "cancelled")] * 2
    assert stage.depth() == 1
    # And the undo brings it back.
    command.ran(stage.path, "dead", "replay", stage.name, "--reason", "cancelled", "--yes")
    assert stage.waiting() == 3


def test_cancels_at_once_take_turns_while_the_loop_goes_on(stage: Stage) -> None:
    """One look at a ladder at a time; while they wait for another one the same client sends."""

    async def main() -> None:
        async with AsyncClient.from_config(stage.path) as client:
            for task in ("a", "b", "c"):
                await client.send("/x", stage.name, id=task, countdown=600)
            with stage.connection() as other:
                other.channel().queue_declare(names.looking(stage.name), exclusive=True)
                cancels = [
                    asyncio.create_task(client.cancel(task, stage.name, timeout=PATIENCE))
                    for task in ("a", "nope", "b")
                ]
                await client.send("/x", stage.name)
                assert not any(each.done() for each in cancels)
            assert await asyncio.gather(*cancels) == [True, False, True]

    asyncio.run(main())
    assert (stage.waiting(), stage.depth()) == (1, 1)


def test_a_look_that_another_one_holds_up_ends_at_its_timeout(stage: Stage) -> None:
    """Nothing is cancelled then, nor later when the other one has ended."""
    with stage.client() as client:
        client.send("/x", stage.name, id="a", countdown=600)
        with stage.connection() as other:
            other.channel().queue_declare(names.looking(stage.name), exclusive=True)
            with pytest.raises(NotKnown, match=r"did not end in 0\.5 s"):
                client.cancel("a", stage.name, timeout=0.5)
        assert stage.waiting() == 1
        assert client.cancel("a", stage.name) is True
    eventually(lambda: stage.depth(names.dead(stage.name)) == 1, "one dead task")


def test_a_ladder_that_is_not_there_is_told(stage: Stage) -> None:
    """And not taken for an empty one."""
    stage.path.write_text(stage.path.read_text().replace("levels = 3", "levels = 4"))
    with stage.client() as client, pytest.raises(NotDeclared, match=r"wait\.1000s.*taskqueue declare"):
        client.cancel("a", stage.name)


def test_a_task_whose_headers_can_not_be_read_waits_on(stage: Stage) -> None:
    """Nobody knows how often it has run; that is told, and the others are cancelled."""
    with stage.connection() as connection:
        table = entry(b"T", struct.pack(">Q", 2**63))
        connection.channel().basic_publish("", f"{stage.name}.wait.900s", b"{}", Raw(table), mandatory=True)
    with stage.client() as client:
        client.send("/x", stage.name, id="a", countdown=600)
        with pytest.raises(InvalidTask, match="headers: can't be read, so it waits on"):
            # The id as commands show it.
            client.cancel_many(["a", r"\xff\xfe\xfd"], stage.name)
    assert (stage.waiting(), stage.depth(names.dead(stage.name))) == (1, 1)
