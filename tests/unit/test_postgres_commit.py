"""A task is sent after a commit of PostgreSQL: once others see the rows, and not where the commit fails.

Where the machine has none and can't get it (`make postgres`), the tests are skipped and say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

import tests.support.django_project  # noqa: F401 its settings
from taskqueue import AsyncClient
from taskqueue.django import send_on_commit as django_send
from taskqueue.send.new_task import NewTask
from taskqueue.sqlalchemy import send_on_commit
from taskqueue.testing import RecordingClient, recording
from tests.support import postgres

Seen = Callable[[], int]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """Give the socket of a server."""
    folder = postgres.programs()
    if folder is None:
        pytest.skip("no PostgreSQL: run `make postgres`")
    with postgres.server(folder) as host:
        yield host


@pytest.fixture
def url(host: str) -> Iterator[URL]:
    """Give a database with a table whose constraint is looked at by the commit."""
    url = URL.create("postgresql+psycopg", postgres.USER, database="postgres", query={"host": host})
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE row (id TEXT UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    yield url
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE row"))
    engine.dispose()


@pytest.fixture
def engine(url: URL) -> Iterator[Engine]:
    """Connect to it."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def seen(url: URL) -> Iterator[Seen]:
    """Count the rows that somebody else sees."""
    engine = create_engine(url)

    def count() -> int:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM row")).scalar_one())

    yield count
    engine.dispose()


class Looking(RecordingClient):
    """Notes how many rows others see at each send."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self.rows: list[int] = []

    def send_many(self, tasks: Iterable[NewTask | Mapping[str, Any]]) -> list[str]:
        """Look, then record."""
        self.rows.append(self._seen())
        return super().send_many(tasks)


def insert(session: Session, *names: str) -> None:
    """Write rows."""
    for name in names:
        session.execute(text("INSERT INTO row VALUES (:id)"), {"id": name})


def test_others_see_the_rows_before_the_task_is_sent(engine: Engine, seen: Seen) -> None:
    """So that a receiver that is quick finds them."""
    client = Looking(seen)
    with Session(engine) as session:
        insert(session, send_on_commit(client, session, "/x"))
        session.commit()
    assert client.rows == [1]
    client.assert_sent("/x")


def test_a_commit_that_the_database_refuses_sends_nothing(engine: Engine, seen: Seen) -> None:
    """All statements were fine, and the commit is not; neither is one whose connection has ended."""
    client = Looking(seen)
    with Session(engine) as session:
        send_on_commit(client, session, "/x")
        insert(session, "twice", "twice")
        with pytest.raises(IntegrityError):
            session.commit()
    with Session(engine) as session:
        insert(session, send_on_commit(client, session, "/y"))
        ours = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": ours})
        with pytest.raises(OperationalError):
            session.commit()
    client.assert_nothing_sent()
    assert seen() == 0


def test_asyncio_is_the_same(url: URL, seen: Seen) -> None:
    """After the commit, and not after one that is refused."""

    async def work(*names: str) -> None:
        engine = create_async_engine(url)
        try:
            async with async_sessionmaker(engine)() as session:
                send_on_commit(AsyncClient(), session, f"/{names[0]}")
                await session.run_sync(insert, *names)
                await session.commit()
        finally:
            await engine.dispose()

    with recording() as client:
        asyncio.run(work("good"))
        with pytest.raises(IntegrityError):
            asyncio.run(work("twice", "twice"))
    assert [task.url for task in client.sent] == ["/good"]
    assert seen() == 1


def test_django_is_the_same(host: str, seen: Seen) -> None:
    """With a savepoint that is rolled back, and a commit that is refused."""
    from django.db import IntegrityError as Refused  # noqa: PLC0415 once its settings are there
    from django.db import connections, transaction  # noqa: PLC0415

    client = Looking(seen)
    connections.settings["pg"] = connections.configure_settings(
        {
            "default": {},
            "pg": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": postgres.USER,
                "HOST": host,
            },
        }
    )["pg"]

    def insert(*names: str) -> None:
        with connections["pg"].cursor() as cursor:
            cursor.executemany("INSERT INTO row VALUES (%s)", [[name] for name in names])

    def undone() -> None:
        with transaction.atomic(using="pg"):
            django_send(client, "/undone", using="pg")
            raise ZeroDivisionError

    def refused() -> None:
        with transaction.atomic(using="pg"):
            django_send(client, "/refused", using="pg")
            insert("twice", "twice")

    try:
        with transaction.atomic(using="pg"):
            insert(django_send(client, "/x", using="pg"))
            with pytest.raises(ZeroDivisionError):
                undone()
            client.assert_nothing_sent()
        with pytest.raises(Refused):
            refused()
    finally:
        connections["pg"].close()
        del connections["pg"]
        del connections.settings["pg"]
    assert ([task.url for task in client.sent], client.rows) == (["/x"], [1])
