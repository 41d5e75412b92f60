"""With a session of SQLAlchemy a task is sent after its commit: never before, nor after a rollback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from taskqueue import AsyncClient, Client, InvalidTask
from taskqueue.sqlalchemy import send_on_commit
from taskqueue.testing import RecordingClient, recording

NOBODY = "amqp://127.0.0.1:9/"
ASYNC = "sqlite+aiosqlite:///:memory:"


@pytest.fixture
def sessions() -> Iterator[sessionmaker[Session]]:
    """Give a maker of sessions on one database in memory."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def client() -> RecordingClient:
    """Give a client that records."""
    return RecordingClient()


def urls(client: RecordingClient) -> list[str]:
    """List what was sent."""
    return [task.url for task in client.sent]


def test_it_is_sent_after_the_commit_under_the_id_that_was_told(
    sessions: sessionmaker[Session], client: RecordingClient
) -> None:
    """What is sent is what was given then."""
    payload = {"user": 7}
    with sessions() as session:
        task_id = send_on_commit(client, session, "/x", payload, queue="mail")
        payload["user"] = 8
        session.execute(text("SELECT 1"))
        session.flush()
        client.assert_nothing_sent()
        session.commit()
        assert client.assert_sent("/x", "mail", payload={"user": 7}).id == task_id
        session.commit()
    assert len(client.sent) == 1


def test_all_of_a_commit_are_sent_in_their_order(
    sessions: sessionmaker[Session], client: RecordingClient
) -> None:
    """By one call, so a broker that is away costs one timeout; a session may be used again."""
    calls: list[int] = []
    sends = client.send_many

    def counting(tasks: Any) -> list[str]:
        calls.append(len(tasks))
        return sends(tasks)

    client.send_many = counting  # type: ignore[method-assign]
    with sessions() as session:
        for number in range(3):
            with session.begin():
                for each in range(number + 1):
                    send_on_commit(client, session, f"/{number}{each}")
    assert urls(client) == ["/00", "/10", "/11", "/20", "/21", "/22"]
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.reset, Session.invalidate])
def test_without_a_commit_nothing_is_sent(
    sessions: sessionmaker[Session], client: RecordingClient, end: Callable[[Session], None]
) -> None:
    """Nor by the next commit of the session."""
    with sessions() as session:
        session.execute(text("SELECT 1"))
        send_on_commit(client, session, "/dropped")
        end(session)
        session.commit()
        client.assert_nothing_sent()
        send_on_commit(client, session, "/sent")
        session.commit()
    assert urls(client) == ["/sent"]


def test_what_was_rolled_back_to_a_savepoint_is_not_sent(
    sessions: sessionmaker[Session], client: RecordingClient
) -> None:
    """Nor what was released in one that was rolled back."""
    with sessions() as session, session.begin():
        send_on_commit(client, session, "/first")
        outer = session.begin_nested()
        send_on_commit(client, session, "/dropped")
        with session.begin_nested():
            send_on_commit(client, session, "/dropped-too")
        outer.rollback()
        with session.begin_nested(), session.begin_nested():
            send_on_commit(client, session, "/second")
        client.assert_nothing_sent()
        send_on_commit(client, session, "/third")
    assert urls(client) == ["/first", "/second", "/third"]


def test_a_commit_ends_the_savepoints_that_are_open(
    sessions: sessionmaker[Session], client: RecordingClient
) -> None:
    """As SQLAlchemy has it."""
    with sessions() as session:
        session.begin_nested()
        send_on_commit(client, session, "/x")
        session.commit()
    assert urls(client) == ["/x"]


def test_sessions_have_nothing_in_common(sessions: sessionmaker[Session], client: RecordingClient) -> None:
    """One's commit does not send what another is at; a scoped session is that of its scope."""
    scoped = scoped_session(sessions)
    with sessions() as one:
        send_on_commit(client, one, "/one")
        send_on_commit(client, scoped, "/scoped")
        scoped.commit()
        assert urls(client) == ["/scoped"]
        one.commit()
    scoped.remove()
    assert urls(client) == ["/scoped", "/one"]


def test_what_can_not_be_sent_is_refused_while_it_can_be_rolled_back(
    sessions: sessionmaker[Session], client: RecordingClient
) -> None:
    """And not after the commit, when it is too late."""
    with sessions() as session:
        with pytest.raises(InvalidTask, match="countdown: must be from 0"):
            send_on_commit(client, session, "/x", countdown=-1)
        with pytest.raises(TypeError, match="an AsyncClient goes with an AsyncSession"):
            send_on_commit(AsyncClient(NOBODY), session, "/x")
        session.commit()
    client.assert_nothing_sent()


def test_a_broker_that_is_away_at_the_commit_is_told(
    sessions: sessionmaker[Session], caplog: pytest.LogCaptureFixture
) -> None:
    """With the ids, or to whom it is to be told; the session is as good as ever."""
    caplog.set_level(logging.ERROR)
    told: list[Any] = []
    with Client(NOBODY, timeout=10) as client, sessions() as session:
        ids = [send_on_commit(client, session, url) for url in ("/x", "/y")]
        send_on_commit(client, session, "/z", unsent=lambda tasks, error: told.append((tasks, error)))
        session.commit()
        assert session.execute(text("SELECT 1")).scalar() == 1
    lines = [record.getMessage() for record in caplog.records if record.name == "taskqueue"]
    assert [line.split(" task ")[1].split(" ")[0] for line in lines] == ids
    (((task,), error),) = told
    assert task.url == "/z"
    assert "no broker" in str(error)


def test_an_async_session_sends_with_an_async_client() -> None:
    """Commit, rollback and savepoints alike, while the loop goes on."""

    async def sends() -> None:
        engine = create_async_engine(ASYNC)
        made = async_sessionmaker(engine)
        client = AsyncClient(NOBODY)
        async with made() as session:
            task_id = send_on_commit(client, session, "/x", {"user": 7})
            await session.execute(text("SELECT 1"))
            recorded.assert_nothing_sent()
            await session.commit()
            assert recorded.assert_sent("/x").id == task_id
            send_on_commit(client, session, "/dropped")
            await session.rollback()
            async with session.begin():
                nested = await session.begin_nested()
                send_on_commit(client, session, "/dropped-too")
                await nested.rollback()
                async with session.begin_nested():
                    send_on_commit(client, session, "/y")
        scoped = async_scoped_session(made, scopefunc=asyncio.current_task)
        send_on_commit(client, scoped, "/scoped")
        await scoped.commit()
        await scoped.remove()
        with pytest.raises(TypeError, match="a Client with a Session"):
            send_on_commit(recorded, AsyncSession(engine), "/x")
        await engine.dispose()

    with recording() as recorded:
        asyncio.run(sends())
    assert urls(recorded) == ["/x", "/y", "/scoped"]


def test_a_broker_that_is_away_is_told_to_asyncio_too() -> None:
    """After a commit that stands."""
    told: list[Any] = []

    async def sends() -> None:
        engine = create_async_engine(ASYNC)
        async with AsyncClient(NOBODY, timeout=10) as client, AsyncSession(engine) as session:
            send_on_commit(client, session, "/x", unsent=lambda tasks, error: told.append((tasks, error)))
            await session.commit()
            assert (await session.execute(text("SELECT 1"))).scalar() == 1
        await engine.dispose()

    asyncio.run(sends())
    (((task,), error),) = told
    assert task.url == "/x"
    assert "no broker" in str(error)
