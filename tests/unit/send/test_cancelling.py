"""To cancel what waits: what is refused before any look, and who meets the code that looks."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskqueue import AsyncClient, BrokerUnreachable, Client, ConfigError, InvalidTask, NotKnown
from taskqueue.settings import Settings, parse
from taskqueue.testing import RecordingClient, recording
from tests.support.silent import Silent

NOBODY = "amqp://me:hunter2@127.0.0.1:9/"
Cancel = Callable[..., Any]


def by_thread(settings: Settings) -> Cancel:
    """Cancel by the client for threads."""
    return Client(settings=settings).cancel_many


def by_loop(settings: Settings) -> Cancel:
    """Cancel by the client for asyncio."""

    def cancel(*given: Any, **named: Any) -> Any:
        async def awaits() -> Any:
            return await AsyncClient(settings=settings).cancel_many(*given, **named)

        return asyncio.run(awaits())

    return cancel


WAYS = pytest.mark.parametrize("way", [by_thread, by_loop])
Way = Callable[[Settings], Cancel]


def at(server: str) -> Settings:
    """Give the ini of a queue on a broker."""
    return parse(f"server = {server}\n[mail]\n", source="x.ini", environ={}, sending=True)


def looks() -> list[threading.Thread]:
    """List the looks that are under way."""
    return [each for each in threading.enumerate() if each.name == "taskqueue-cancel"]


def assert_all_end() -> None:
    """Wait for the end of each look; a socket that it left open would be a warning, and that an error."""
    for look in looks():
        look.join(60)
    assert looks() == []
    gc.collect()


@WAYS
@pytest.mark.parametrize(
    "case",
    [
        (at(NOBODY), ["a", ""], "mail", InvalidTask, "id: must be a text that is not empty, got ''"),
        (at(NOBODY), [7], "mail", InvalidTask, "id: must be a text that is not empty, got 7"),
        (at(NOBODY), "abc", "mail", TypeError, "cancel_many takes several ids, and cancel takes one"),
        (at(NOBODY), ["a"], "default", ConfigError, "queue 'default' is in no section"),
        (at(NOBODY), ["a"], "", InvalidTask, "queue: must be a text"),
        (Settings(), ["a"], "mail", ConfigError, "does not know the ladder of queue 'mail', .*from_config$"),
    ],
)
def test_what_can_not_be_looked_for_is_refused(
    way: Way, case: tuple[Settings, Any, str, type[Exception], str]
) -> None:
    """At the call, and in a test without a broker by the same words."""
    settings, ids, queue, error, words = case
    with pytest.raises(error, match=words):
        way(settings)(ids, queue)
    with recording(), pytest.raises(error, match=words):
        way(settings)(ids, queue)
    assert looks() == []


@WAYS
def test_no_ids_take_no_look(way: Way) -> None:
    """So no broker either."""
    assert way(at(NOBODY))([], "mail") == []


@WAYS
def test_no_broker_is_told(way: Way) -> None:
    """Without the password."""
    with pytest.raises(BrokerUnreachable, match="no broker at") as caught:
        way(at(NOBODY))(["a"], "mail")
    assert "hunter2" not in str(caught.value)


@WAYS
def test_the_timeout_ends_a_look_that_gets_no_answer(way: Way) -> None:
    """It is not known what came of it, and its thread ends, too."""
    with Silent() as silent:
        cancel = way(at(f"amqp://127.0.0.1:{silent.port}/"))
        with pytest.raises(NotKnown, match=r"did not end in 0\.2 s, so nobody knows whether"):
            cancel(["a"], "mail", timeout=0.2)
        assert_all_end()


def test_a_call_that_is_cancelled_ends_its_look() -> None:
    """As where a browser has left."""

    async def leaves(port: int) -> None:
        client = AsyncClient(settings=at(f"amqp://127.0.0.1:{port}/"))
        call = asyncio.create_task(client.cancel("a", "mail", timeout=600))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with Silent() as silent:
        asyncio.run(leaves(silent.port))
        assert_all_end()


def test_a_test_sees_what_its_application_cancels() -> None:
    """What was sent for later, and has not run: it is not run any more."""
    ran: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        ran.append(environ["PATH_INFO"])
        start("200 OK", [])
        return []

    with recording() as client:
        by = {name: name for name in ("later", "other", "now")}
        application = Client(settings=at(NOBODY))
        application.send("/later", "mail", id=by["later"], countdown=20)
        application.send("/again", "mail", id=by["later"], countdown=30)
        application.send("/other", "mail", id=by["other"], countdown=20)
        application.send("/now", "mail", id=by["now"])
        assert application.cancel_many(["nope", "later", "now"], "mail") == [False, True, False]
        assert application.cancel("later", "mail") is False
        assert [task.url for task in client.cancelled] == ["/later", "/again"]
        client.run_wsgi(app)
        assert ran == ["/now", "/other"]
        assert asyncio.run(AsyncClient(settings=at(NOBODY)).cancel("other", "mail")) is False
    assert len(client.sent) == 4


def test_a_recording_client_needs_no_ini_for_it() -> None:
    """It stands for one that has an ini; what names no task is refused all the same."""
    client = RecordingClient()
    client.send("/x", id="a", countdown=5)
    assert client.cancel("a", "mail") is False
    assert client.cancel("a") is True
    with pytest.raises(InvalidTask):
        client.cancel("")
