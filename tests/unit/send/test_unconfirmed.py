"""A send whose confirms do not come: it ends in time, and names the tasks that it is about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import pytest

from taskqueue import AsyncClient, Client, PublishFailed
from taskqueue.send.batch import Batch, WaitingThread
from taskqueue.send.producer import Producer
from taskqueue.task.message import Publish

FOR_EVER = 600.0
TASKS = [{"url": "/x", "id": f"mine-{number}"} for number in range(8)]


class Broker:
    """Stands where the sender does: a broker that confirms some tasks, and has an alarm then."""

    unreached = lost = None

    def __init__(self, confirms: int, alarm: str = "") -> None:
        self._confirms = confirms
        self._alarm = alarm

    @property
    def alarm(self) -> str:
        """Be the sender."""
        return "" if self._confirms else self._alarm

    def begin(self, publish: Publish, batch: Batch) -> None:
        """Be the sender."""
        if self._confirms:
            self._confirms -= 1
            batch.confirmed(publish)

    def send(self, publishes: Iterable[Publish], timeout: float, *, through_alarms: bool) -> None:
        """Wait as the sender does."""
        batch = WaitingThread(time.monotonic() + timeout, through_alarms=through_alarms)
        for publish in publishes:
            batch.began(publish)
            self.begin(publish, batch)
        batch.wait_below(1, self)


def failure(kind: str, broker: Broker, tasks: list[dict[str, Any]], **options: Any) -> PublishFailed:
    """Send by one of the clients, and give what it raises."""

    def send() -> None:
        if kind == "Client":
            Client(**options).send_many(tasks)
        else:
            asyncio.run(AsyncClient(**options).send_many(tasks))

    with patch.object(Producer, "sender", lambda _: broker), pytest.raises(PublishFailed) as raised:
        send()
    return raised.value


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_no_send_waits_for_the_end_of_an_alarm_that_it_is_not_to_wait_for(kind: str) -> None:
    """However long its timeout is; the error has the broker's words, and the ids of what is not confirmed."""
    broker = Broker(2, "low on disk")
    began = time.monotonic()
    error = failure(kind, broker, TASKS, timeout=FOR_EVER, through_alarms=False)
    assert time.monotonic() - began < FOR_EVER / 10
    assert error.ids == tuple(f"mine-{number}" for number in range(2, 8))
    assert "alarm, low on disk, and takes no publishes): 2 confirmed, 6 not" in str(error)
    assert "send those again with the same ids, those of this error, as they may run all" in str(error)


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("alarm", ["low on memory", ""])
def test_one_task_is_named_in_the_text(kind: str, alarm: str) -> None:
    """At the end of the timeout too, with an alarm or without."""
    error = failure(kind, Broker(0, alarm), TASKS[:1], timeout=0.2)
    assert error.ids == ("mine-0",)
    assert str(error).endswith("send it again with the same id, mine-0, as it may run all the same")
    assert ("low on memory" in str(error)) == bool(alarm)


def test_an_id_that_was_not_given_is_in_the_error_too() -> None:
    """Nobody could send the task again under it otherwise."""
    error = failure("Client", Broker(0), [{"url": "/x"}], timeout=0.1)
    (made,) = error.ids
    assert len(made) == 32
    assert made in str(error)


def test_another_failure_names_what_is_not_confirmed() -> None:
    """Whatever is raised for the first of several."""

    class Refusing(Broker):
        def begin(self, publish: Publish, batch: Batch) -> None:
            if self._confirms:
                super().begin(publish, batch)
            else:
                batch.failed(PublishFailed("the task was not taken, a queue is full"))

    for kind in ("Client", "AsyncClient"):
        assert failure(kind, Refusing(1), TASKS[:3]).ids[0] == "mine-1"
