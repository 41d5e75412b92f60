"""With a transaction of Django a task is sent after its commit: never before, nor after a rollback."""

from __future__ import annotations

import logging
import unittest
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import TestCase
from django.test.utils import override_settings
from django.urls import path as route

from taskqueue import Client, InvalidTask
from taskqueue.django import send_on_commit
from taskqueue.testing import RecordingClient
from tests.support.django_project import Row, Urls, tables

NOBODY = "amqp://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _tables() -> Iterator[None]:
    """Have an empty table."""
    with tables():
        yield


@pytest.fixture
def client() -> RecordingClient:
    """Give a client that records."""
    return RecordingClient()


def test_it_is_sent_after_the_commit_under_the_id_that_was_told(client: RecordingClient) -> None:
    """The id may stand in a row of the same transaction; what is sent is what was given then."""
    payload = {"user": 7}
    with transaction.atomic():
        task_id = send_on_commit(client, "/x", payload, queue="mail", countdown=20)
        Row.objects.create(id=task_id)
        payload["user"] = 8
        client.assert_nothing_sent()
    task = client.assert_sent("/x", "mail", payload={"user": 7}, countdown=20)
    assert task.id == task_id == Row.objects.get().id


def test_a_rollback_sends_nothing(client: RecordingClient) -> None:
    """Neither does the next transaction."""

    def fails() -> None:
        with transaction.atomic():
            send_on_commit(client, "/x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with transaction.atomic():
        send_on_commit(client, "/y")
    assert [task.url for task in client.sent] == ["/y"]


def test_what_was_rolled_back_to_a_savepoint_is_not_sent(client: RecordingClient) -> None:
    """The rest is, in its order."""

    def fails() -> None:
        with transaction.atomic():
            send_on_commit(client, "/dropped")
            with transaction.atomic():
                send_on_commit(client, "/dropped-too")
            raise ZeroDivisionError

    with transaction.atomic():
        send_on_commit(client, "/first")
        with pytest.raises(ZeroDivisionError):
            fails()
        with transaction.atomic():
            send_on_commit(client, "/second")
        client.assert_nothing_sent()
    assert [task.url for task in client.sent] == ["/first", "/second"]


def test_each_database_has_transactions_of_its_own(client: RecordingClient) -> None:
    """`using` names the one that is meant."""
    with transaction.atomic(using="other"):
        with transaction.atomic():
            send_on_commit(client, "/default")
            send_on_commit(client, "/other", using="other")
        assert [task.url for task in client.sent] == ["/default"]
    assert [task.url for task in client.sent] == ["/default", "/other"]


def test_without_a_transaction_it_is_sent_at_once(client: RecordingClient) -> None:
    """As Django commits each statement then."""
    send_on_commit(client, "/x")
    client.assert_sent("/x")


def test_what_can_not_be_sent_is_refused_while_it_can_be_rolled_back() -> None:
    """And not after the commit, when it is too late."""
    with transaction.atomic(), Client(NOBODY) as client:
        with pytest.raises(InvalidTask, match="countdown: must be from 0"):
            send_on_commit(client, "/x", countdown=-1)
        with pytest.raises(TypeError, match="send takes no delay"):
            send_on_commit(client, "/x", delay=1)


@pytest.mark.parametrize("status", [200, 500])
def test_a_request_is_one_transaction_with_atomic_requests(client: RecordingClient, status: int) -> None:
    """What a view that raises has sent is not sent."""

    def view(_request: HttpRequest) -> HttpResponse:
        send_on_commit(client, "/x")
        client.assert_nothing_sent()
        if status != 200:
            raise ZeroDivisionError
        return HttpResponse("ok")

    settings = connections["default"].settings_dict
    sends = RecordingClient()
    sends.send("/view", metadata={"method": "GET"})
    with override_settings(ROOT_URLCONF=Urls(route("view", view)), DEBUG_PROPAGATE_EXCEPTIONS=False):
        settings["ATOMIC_REQUESTS"] = True
        try:
            (answered,) = sends.run_wsgi(WSGIHandler())
        finally:
            settings["ATOMIC_REQUESTS"] = False
    assert answered.status == status
    assert len(client.sent) == (status == 200)


class SignUp(TestCase):  # type: ignore[misc]
    """Run by a test below: a test case of an application."""

    __test__ = False

    def runTest(self) -> None:  # noqa: N802 unittest's name
        """Commit nothing, and see what would be sent at the commit."""
        client = RecordingClient()
        send_on_commit(client, "/not-captured")
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            send_on_commit(client, "/x")
            client.assert_nothing_sent()
        assert len(callbacks) == 1
        assert [task.url for task in client.sent] == ["/x"]


def test_a_test_case_that_never_commits_sees_what_would_be_sent() -> None:
    """By Django's own means."""
    result = unittest.TestResult()
    unittest.TestSuite([SignUp()]).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.errors + result.failures


def test_a_broker_that_is_away_at_the_commit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """With the ids, of every task; the row is there, and nothing is raised that would deny it."""
    caplog.set_level(logging.ERROR)
    with Client(NOBODY, timeout=10) as client, transaction.atomic():
        ids = [send_on_commit(client, url, queue="mail") for url in ("/x", "/y")]
        Row.objects.create(id="row")
    assert Row.objects.count() == 1
    lines = [record.getMessage() for record in caplog.records if record.name == "taskqueue"]
    assert len(lines) == 2
    for task_id, line in zip(ids, lines, strict=True):
        assert line.startswith(
            f"the transaction is committed, but task {task_id} for queue mail was not confirmed (no broker: "
        )
        assert line.endswith("): send it again with the same id")


def test_an_application_may_do_something_else_about_it() -> None:
    """Such as writing it to a table."""
    told: list[Any] = []
    with Client(NOBODY, timeout=10) as client, transaction.atomic():
        task_id = send_on_commit(client, "/x", unsent=lambda tasks, error: told.append((tasks, error)))
    (((task,), error),) = told
    assert (task.id, task.url) == (task_id, "/x")
    assert "no broker" in str(error)
