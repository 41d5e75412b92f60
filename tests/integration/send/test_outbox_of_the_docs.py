"""The outbox of the documentation: sent for each commit, whoever was away, and never for a rollback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.receiver import Receiver
from taskqueue import BrokerUnreachable, Client
from tests.support.signed import shown
from tests.support.stage import Stage

DOCUMENT = Path(__file__).parents[3] / "docs" / "outbox.md"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def outbox() -> dict[str, Any]:
    """Give the functions, as they stand in the documentation."""
    return shown("outbox", DOCUMENT)


@pytest.fixture
def connection(outbox: dict[str, Any]) -> Iterator[sqlite3.Connection]:
    """Give a database with the table."""
    connection = sqlite3.connect(":memory:")
    connection.execute(outbox["TABLE"])
    yield connection
    connection.close()


def waiting(connection: sqlite3.Connection) -> int:
    """Count what is in the table."""
    return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])


def test_what_was_committed_runs_and_what_was_rolled_back_does_not(
    outbox: dict[str, Any], connection: sqlite3.Connection, stage: Stage, receiver: Receiver
) -> None:
    """Each once, in their order, as nobody was killed; the same id twice is one task."""
    with connection:
        outbox["put"](connection, "one", url="/one", queue=stage.name, payload={"a": 1})
        outbox["put"](connection, "one", url="/one", queue=stage.name)
    with suppress(ZeroDivisionError), connection:
        outbox["put"](connection, "two", url="/two", queue=stage.name)
        raise ZeroDivisionError
    with connection:
        outbox["put"](connection, "three", url="/three", queue=stage.name)
    with stage.client() as client:
        assert outbox["send_some"](connection, client, 1) == 1
        assert outbox["send_some"](connection, client) == 1
        assert outbox["send_some"](connection, client) == 0
    stage.consume()
    came = {request.headers["Taskqueue-Id"]: request.body for request in receiver.wait_for(2)}
    assert came == {"one": b'{"a":1}', "three": b"{}"}
    stage.settle()
    assert waiting(connection) == 0


def test_a_broker_that_is_away_costs_nothing_but_time(
    outbox: dict[str, Any], connection: sqlite3.Connection, stage: Stage
) -> None:
    """What was not confirmed is still there, and goes out when it is back."""
    with connection:
        for number in range(3):
            outbox["put"](connection, f"{number}", url="/x", queue=stage.name)
    with Client("amqp://127.0.0.1:9/") as nobody, pytest.raises(BrokerUnreachable):
        outbox["send_some"](connection, nobody)
    assert waiting(connection) == 3
    with stage.client() as client:
        assert outbox["send_some"](connection, client) == 3
    assert (waiting(connection), stage.depth()) == (0, 3)


def test_who_is_killed_before_the_delete_sends_again_under_the_same_id(
    outbox: dict[str, Any], connection: sqlite3.Connection, stage: Stage
) -> None:
    """So that the receiver can tell."""
    with connection:
        outbox["put"](connection, "one", url="/x", queue=stage.name)
    with stage.client() as client:
        confirmed = client.send_many

        def killed(tasks: Any) -> list[str]:
            confirmed(tasks)
            raise Killed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(client, "send_many", killed)
            with pytest.raises(Killed):
                outbox["send_some"](connection, client)
        assert outbox["send_some"](connection, client) == 1
    with stage.connection() as broker:
        channel = broker.channel()
        taken = [channel.basic_get(stage.name, auto_ack=True)[1] for _ in range(2)]
    assert [properties.message_id for properties in taken if properties is not None] == ["one", "one"]
