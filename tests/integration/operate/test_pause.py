"""A paused queue: nothing begins on any consumer, nothing is lost, and it ends as it was told to."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from sandbox.proxy import Proxy
from sandbox.receiver import Answer, Receiver
from taskqueue.broker.asking import Channel
from taskqueue.broker.bound import bound
from taskqueue.broker.session import Session, connected
from taskqueue.broker.session import run as in_session
from taskqueue.operate.pause import Pause, pause, paused, resume
from taskqueue.topology import names
from taskqueue.topology.pause import PAUSE_NOTE
from tests.support.admin import Admin
from tests.support.command import ran, read, run
from tests.support.stage import PATIENCE, Process, Stage, eventually

T = TypeVar("T")
EFFECT = 2.0
"""Seconds after which no consumer begins a task of a paused queue."""


def paths(receiver: Receiver) -> list[str]:
    """Give what was requested so far."""
    return [each.path for each in receiver.requests]


def test_no_task_of_a_paused_queue_begins_and_what_runs_ends(staged: Callable[..., Stage]) -> None:
    """What was prefetched goes back, and all of it runs in order after the pause."""
    stage = staged(concurrency=1)
    release = threading.Event()
    stage.receiver.answer("/first", [Answer(200, hold=release)])
    for path in ("/first", *(f"/{number}" for number in range(8))):
        stage.publish({"url": path})
    consumer = stage.run()
    stage.receiver.wait_for(1, timeout=PATIENCE)
    ran(stage.path, "pause", stage.name, "--reason", "a bad deploy")
    consumer.wait_for("(a bad deploy)")
    eventually(lambda: stage.depth() == 8, "what was prefetched is in the work queue")
    release.set()
    stage.publish({"url": "/8"})
    stage.receiver.closing.wait(EFFECT)
    assert paths(stage.receiver) == ["/first"]
    ran(stage.path, "resume", stage.name)
    stage.receiver.wait_for(10, timeout=PATIENCE)
    assert paths(stage.receiver) == ["/first", *(f"/{number}" for number in range(9))]
    stage.settle()


def test_a_consumer_that_starts_later_is_paused_and_time_goes_on(stage: Stage) -> None:
    """Tasks walk the ladder into the work queue, and what expires meanwhile never runs."""
    ran(stage.path, "pause", stage.name)
    stage.publish({"url": "/late", "expires": time.time() + 1})
    stage.send("/waits", countdown=1)
    stage.run_paused().wait_for(f"{stage.name}: paused by")
    eventually(lambda: stage.depth() == 2, "both are in the work queue")
    assert paths(stage.receiver) == []
    ran(stage.path, "resume", stage.name)
    stage.receiver.wait_for(1, timeout=PATIENCE)
    ((headers, _, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "expired"
    assert paths(stage.receiver) == ["/waits"]
    stage.settle()


def test_a_pause_ends_by_itself_with_and_without_a_consumer(stage: Stage) -> None:
    """The broker ends it; it looks every 5 s, and looks at the pause prolong nothing."""
    process = stage.run()
    ran(stage.path, "pause", stage.name, "--for", "6s")
    process.wait_for(f"{stage.name}: paused")
    stage.publish({"url": "/x"})

    def is_over() -> bool:
        (queue,) = read(stage.path, "inspect")["queues"]
        return queue["paused"] is False

    # Consumers ask all the while, and so do we: were it prolonged by that, it would never end.
    eventually(is_over, "the end of the pause")
    stage.receiver.wait_for(1, timeout=PATIENCE)
    process.stop()
    ran(stage.path, "pause", stage.name, "--for", "0.1s")
    eventually(is_over, "the end of the next one")


def test_pause_and_resume_are_idempotent_and_say_who_and_why(stage: Stage) -> None:
    """The last one counts; a queue that is not in the configuration is bad usage."""

    def shown() -> object:
        (queue,) = read(stage.path, "inspect")["queues"]
        return queue["paused"]

    ran(stage.path, "resume", stage.name)
    assert shown() is False
    for options in (["--reason", "a"], [], ["--for", "2h"], ["--for", "1h30m", "--reason", "b"]):
        ran(stage.path, "pause", stage.name, *options)
    found = shown()
    assert isinstance(found, dict)
    assert found["reason"] == "b"
    assert "@" in found["by"]
    until, since = (datetime.fromisoformat(found[key]) for key in ("until", "since"))
    assert until - since == timedelta(minutes=90)
    assert "paused by" in run(stage.path, "inspect").stderr.decode()
    for _ in range(2):
        ran(stage.path, "resume", stage.name)
        assert shown() is False
    for command in (["pause", "other"], ["resume", "other"], ["pause", stage.name, "--for", "soon"]):
        ran(stage.path, *command, code=2)


def test_a_pause_that_is_changed_has_no_gap(stage: Stage) -> None:
    """Whatever a consumer sees at any moment: it is paused."""
    queue, key = stage.name, (names.control(stage.name), names.pausing(stage.name))

    async def work(session: Session) -> list[bool]:
        seen: list[bool] = []
        await pause(session, queue, queue, Pause())

        async def look() -> None:
            seen.extend(await bound(session, [key] * 50))

        for number in range(4):
            looks = [asyncio.create_task(look()) for _ in range(3)]
            await pause(session, queue, queue, Pause(reason=str(number)), lasts_ms=60_000 + number)
            await asyncio.gather(*looks)
        assert await paused(session, queue) == Pause(reason="3")
        return seen

    assert set(with_session(stage, work)) == {True}


def test_a_consumer_waits_for_the_note_of_a_pause_that_begins(stage: Stage) -> None:
    """What consumers ask by stands in its place until it comes, and is no note."""
    consumer = stage.run()
    queue, told = stage.name, names.pause_note(stage.name)

    async def begin(session: Session) -> None:
        async with session.own_channel() as channel:
            await channel.ask("queue_declare", told, durable=True, arguments=PAUSE_NOTE)
            await channel.ask("queue_bind", told, names.control(queue), names.pausing(queue))

    # Given a command that has come as far as to the first binding, and a consumer that asks
    with_session(stage, begin)
    eventually(lambda: stage.depth(told) == 1, "an ask in the place of the note")
    # When it goes on, then the consumer tells what the note says
    with_session(stage, lambda session: pause(session, queue, queue, Pause(reason="late")))
    consumer.wait_for("(late)")


def test_a_command_that_dies_at_any_step_leaves_it_paused_or_not_and_can_be_repeated(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of both is cut off once: a pause that was there stays until it was resumed."""
    monkeypatch.setattr("taskqueue.operate.pause._ARRIVING", 0.02)
    queue = stage.name

    async def cut(steps: int, work: Callable[[Session], Awaitable[None]]) -> bool:
        """Do it up to so many questions to the broker; tell whether it came to its end."""
        async with connected(stage.settings, name="cut") as other:
            with monkeypatch.context() as patch:
                patch.setattr(Channel, "ask", dying(steps))
                try:
                    await work(other)
                except Died:
                    return False
        return True

    async def work(session: Session) -> int:
        ended, cuts = False, 0
        while not ended:
            await pause(session, queue, queue, Pause(reason="before"))
            ended = await cut(cuts, lambda each: pause(each, queue, queue, Pause(reason="new")))
            assert await paused(session, queue) is not None, f"after {cuts} steps"
            await resume(session, queue, queue)
            assert await paused(session, queue) is None, f"after {cuts} steps"
            await pause(session, queue, queue, Pause(reason="again"))
            assert await paused(session, queue) == Pause(reason="again"), f"after {cuts} steps"
            await cut(cuts, lambda each: resume(each, queue, queue))
            await resume(session, queue, queue)
            assert await paused(session, queue) is None, f"after {cuts} steps"
            cuts += 1
        return cuts

    assert with_session(stage, work) > 5


class Died(Exception):
    """Stands for the end of the process."""


def dying(steps: int) -> Callable[..., Awaitable[Any]]:
    """Make a way to ask that is answered so many times."""
    ask, left = Channel.ask, steps

    async def ask_or_die(channel: Channel, *arguments: Any, **named: Any) -> Any:
        nonlocal left
        if not left:
            raise Died
        left -= 1
        return await ask(channel, *arguments, **named)

    return ask_or_die


def with_session(stage: Stage, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do it in a session with the broker of the stage."""

    async def main() -> T:
        async with connected(stage.settings, name="test") as session:
            return await work(session)

    return in_session(main())


def test_a_consumer_needs_no_right_to_declare(admin: Admin, receiver: Receiver, tmp_path: Path) -> None:
    """It is paused all the same, on a ladder that it shares, beside a queue that is not."""
    sections = (
        f"[mail]\nladder = many\nbase_url = {receiver.url}\n[sms]\nladder = many\nbase_url = {receiver.url}\n"
    )
    every, consuming = tmp_path / "every.ini", tmp_path / "consumer.ini"
    every.write_text(f"server = {admin.url}\nlevels = 1\n{sections}")
    user = admin.user("^$", r"^(mail|sms|many)\..*$", r"^(mail|sms)(\..*)?$|^many\..*$")
    consuming.write_text(f"server = {user}\nlevels = 1\n{sections}")
    ran(every, "declare")
    consumer = Process("run", "--config", str(consuming))
    try:
        consumer.wait_for("consuming from mail")
        ran(every, "pause", "mail")
        consumer.wait_for("mail: paused by")
        for queue in ("mail", "sms"):
            ran(every, "send", queue, f"/{queue}")
        receiver.wait_for(1, timeout=PATIENCE)
        receiver.closing.wait(EFFECT)
        assert paths(receiver) == ["/sms"]
        ran(every, "resume", "mail")
        receiver.wait_for(2, timeout=PATIENCE)
    finally:
        consumer.stop()
    assert "sms: paused" not in consumer.log


def test_a_consumer_that_may_not_see_pauses_any_more_takes_nothing(
    admin: Admin, receiver: Receiver, tmp_path: Path
) -> None:
    """As nobody could pause it; once it may again, it goes on, and does not end meanwhile."""
    everything = ".*"
    url = urlsplit(admin.user(everything, everything, everything))
    path = tmp_path / "taskqueue.ini"
    section = f"levels = 1\n[mail]\nbase_url = {receiver.url}\n"
    path.write_text(f"server = {admin.url}\n{section}")
    ran(path, "declare")
    consuming = tmp_path / "consumer.ini"
    with Proxy(url.port or 5672) as proxy:
        behind = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}")
        consuming.write_text(f"server = {urlunsplit(behind)}\n{section}")
        consumer = Process("run", "--config", str(consuming))
        try:
            consumer.wait_for("consuming from mail")
            most = f"^(?!{re.escape(names.control('mail'))}$)"
            admin.allow(str(url.username), everything, most, everything)
            proxy.cut()
            consumer.wait_for("is not consumed, as its tasks could not be settled, or not be paused")
            consumer.wait_for("can't see by exchange mail.wait.control whether queues are paused")
            ran(path, "send", "mail", "/x")
            receiver.closing.wait(EFFECT)
            assert receiver.requests == []
            admin.allow(str(url.username), everything, everything, everything)
            receiver.wait_for(1, timeout=PATIENCE)
        finally:
            consumer.stop()
