"""A receiver that answers as told, so that somebody can see what a task does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from taskqueue.receiver.listening import HOST, Answers, Heard, Listening
from tests.support.signed import VERIFIER

PLAIN = Answers()
Begin = Callable[..., tuple[Listening, list[Heard]]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Give what starts one; it stops after the test."""
    with ExitStack() as stack:

        def start(answers: Answers = PLAIN, **options: object) -> tuple[Listening, list[Heard]]:
            heard: list[Heard] = []
            verifier = VERIFIER if options.get("signed") else None
            server = stack.enter_context(Listening(0, answers, verifier, heard.append))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server, heard

        yield start


def ask(server: Listening, body: bytes = b"{}", method: str = "POST", **headers: str) -> int:
    """Make a request and give the status of its answer."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    try:
        connection.request(
            method, "/x", body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_takes_every_method_and_tells_what_came(begin: Begin) -> None:
    """In the order in which they came."""
    server, heard = begin(Answers(status=204))
    assert [ask(server, b"1", "PUT", Taskqueue_Attempt="3"), ask(server, b"2", "PURGE")] == [204, 204]
    assert [(each.method, each.path, each.body, each.attempt, each.status) for each in heard] == [
        ("PUT", "/x", b"1", 3, 204),
        ("PURGE", "/x", b"2", None, 204),
    ]


def test_the_first_attempts_of_each_task_may_fail(begin: Begin) -> None:
    """It goes by the number that the request has."""
    server, _ = begin(Answers(flaky=2, failing=503))
    assert [ask(server, Taskqueue_Attempt=number) for number in ("1", "2", "3", "1")] == [503, 503, 200, 503]
    assert [ask(server), ask(server, Taskqueue_Attempt="x")] == [503, 503]


def test_what_is_not_signed_gets_what_a_receiver_would_say(begin: Begin) -> None:
    """And it is told why."""
    server, heard = begin(signed=True)
    assert ask(server) == 401
    assert ask(server, webhook_id="1", webhook_timestamp="1", webhook_signature="v1,x") == 401
    not_signed, old = (each.fault or "" for each in heard)
    assert "not signed" in not_signed
    assert "too long ago" in old


def test_what_is_no_task_is_not_read(begin: Begin) -> None:
    """A length that nobody knows, or that no task has."""
    server, heard = begin()
    assert ask(server, b"", Content_Length=str(2**40)) == 413
    assert ask(server, b"0\r\n\r\n", Transfer_Encoding="chunked") == 411
    assert heard == []


def test_who_can_not_tell_ends_it() -> None:
    """The error is there for who serves."""

    def fails(_: Heard) -> None:
        raise ZeroDivisionError

    with Listening(0, Answers(), None, fails) as server:
        asking = threading.Thread(target=ask, args=(server,))
        asking.start()
        server.serve_forever(0.05)
        asking.join()
        assert isinstance(server.broken, ZeroDivisionError)


def test_a_slow_answer_ends_with_the_server() -> None:
    """Nobody waits an hour for Ctrl-C."""
    came = threading.Event()
    with Listening(0, Answers(slow=3600), None, lambda _: came.set()) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        statuses: list[int] = []
        asking = threading.Thread(target=lambda: statuses.append(ask(server)))
        asking.start()
        assert came.wait(60)
        server.shutdown()
    asking.join(60)
    assert statuses == [200]
