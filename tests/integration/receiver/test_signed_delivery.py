"""A receiver behind a real consumer: signed, delivered, and done once however often it comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from taskqueue.receiver import wsgi
from tests.support.signed import SECRET, VERIFIER, Database
from tests.support.stage import Stage, eventually


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *given: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on loopback, and give its URL."""
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_task_that_is_sent_twice_is_done_once(staged: Callable[..., Stage]) -> None:
    """Its first attempt fails, which leaves nothing; the second one is kept, and the duplicate dropped."""
    database = Database()
    statuses = ["500 Not Yet"]
    answers: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        database.work(environ["PATH_INFO"])
        status = statuses.pop() if statuses else "200 OK"
        answers.append(status)
        start(status, [])
        return []

    receiver = wsgi.Receiver(app, VERIFIER, database.store)
    requests: list[str] = []

    def counted(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        answer = [*receiver(environ, start)]
        requests.append(environ["PATH_INFO"])
        return answer

    with serving(counted) as url:
        stage = staged(base_url=url, handlers="signing", signing_secret=SECRET, concurrency=1)
        stage.send("/x", id="one")
        stage.send("/x", id="one")
        stage.send("/last", id="two")
        stage.consume()
        # The first attempt, its retry, the duplicate, and the other task.
        eventually(lambda: len(requests) == 4, "four requests")
        stage.settle()
    assert answers == ["500 Not Yet", "200 OK", "200 OK"]
    assert sorted(database.done) == ["/last", "/x"]
    database.connection.close()
