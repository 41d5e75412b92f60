"""Each kind of receiver: only genuine tasks, each done once, a failure done again, in all of them alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path as route

from taskqueue.receiver import asgi, wsgi
from taskqueue.receiver.django import task_view as django_view
from taskqueue.receiver.flask import task_view as flask_view
from taskqueue.testing import RecordingClient
from taskqueue.testing.apps import Answered
from tests.support.django_project import Urls
from tests.support.signed import VERIFIER, Database, sending

Work = Callable[[str, bytes], int]
Run = Callable[..., list[Answered]]


class Side:
    """A receiver over one database: what `answers` says is the status of each request in turn."""

    def __init__(self, folder: Path, kind: str, *, keeps: bool) -> None:
        self.database = Database()
        self.answers: list[int | Exception] = []
        self.bodies: list[bytes] = []
        self.client, self._ini = sending(folder)
        self._kind = kind
        self._app = APPS[kind](self.work, self.database if keeps else None)

    def work(self, url: str, body: bytes) -> int:
        """Do the work of a request and give the status of its answer."""
        self.bodies.append(body)
        self.database.work(url)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, client: RecordingClient | None = None) -> Answered:
        """Make the request of the last task that was sent, signed unless `client` does not."""
        ini = self._ini if client is None else None
        sends = client or self.client
        if "asgi" in self._kind or self._kind == "django async":
            (answered,) = asyncio.run(sends.run_asgi(self._app, ini))
        else:
            (answered,) = sends.run_wsgi(self._app, ini)
        return answered


def _wsgi(work: Work, database: Database | None) -> Any:
    def app(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        # A generator: its status is there when it is read, as in many frameworks.
        status = work(environ["PATH_INFO"], environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start(f"{status} As Told", [("X-App", "yes")])
        yield b"app"

    return wsgi.Receiver(app, VERIFIER, database.store if database else None)


def _asgi(work: Work, database: Database | None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        event = await receive()
        assert not event["more_body"]
        status = work(scope["path"], event["body"])
        await send({"type": "http.response.start", "status": status, "headers": [(b"x-app", b"yes")]})
        await send({"type": "http.response.body", "body": b"app"})

    return asgi.Receiver(app, VERIFIER, database)


def _flask(work: Work, database: Database | None) -> Any:
    app = flask.Flask("an_application")
    app.testing = True

    @app.post("/<path:url>")
    @flask_view(VERIFIER, database.store if database else None)
    def view(url: str) -> tuple[str, int, dict[str, str]]:
        return "app", work(f"/{url}", flask.request.get_data()), {"X-App": "yes"}

    return app


def _django(work: Work, database: Database | None) -> Any:
    @django_view(VERIFIER, database.store if database else None)
    def view(request: HttpRequest, url: str) -> HttpResponse:
        return HttpResponse("app", status=work(f"/{url}", request.body), headers={"X-App": "yes"})

    return _with_urls(WSGIHandler, view)


def _django_async(work: Work, database: Database | None) -> Any:
    @django_view(VERIFIER, database)
    async def view(request: HttpRequest, url: str) -> HttpResponse:
        return HttpResponse("app", status=work(f"/{url}", request.body), headers={"X-App": "yes"})

    return _with_urls(ASGIHandler, view)


def _with_urls(handler: Any, view: Any) -> Any:
    urls = Urls(route("<path:url>", view))
    made = handler()

    def app(environ: Any, *given: Any) -> Any:
        with override_settings(ROOT_URLCONF=urls):
            return made(environ, *given)

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        with override_settings(ROOT_URLCONF=urls):
            await made(scope, receive, send)

    return asgi_app if handler is ASGIHandler else app


APPS: dict[str, Callable[[Work, Database | None], Any]] = {
    "wsgi": _wsgi, "asgi": _asgi, "flask": _flask, "django": _django, "django async": _django_async,
}  # fmt: skip


@pytest.fixture(params=list(APPS))
def side_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Side]]:
    """Give a maker of each kind of receiver."""
    made: list[Side] = []

    def make(*, keeps: bool) -> Side:
        made.append(Side(tmp_path, request.param, keeps=keeps))
        return made[-1]

    yield make
    for side in made:
        side.database.connection.close()


def test_a_genuine_task_comes_through_as_it_was_sent(side_of: Callable[..., Side]) -> None:
    """The body too, which was read before to be verified."""
    side = side_of(keeps=True)
    side.client.send("/x", {"user": 7})
    answered = side.run()
    assert (answered.status, answered.body, answered.headers["x-app"]) == (200, b"app", "yes")
    assert [json.loads(body) for body in side.bodies] == [{"user": 7}]
    assert side.database.done == ["/x"]


@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_not_genuine_never_gets_there(side_of: Callable[..., Side], *, keeps: bool) -> None:
    """It is told what is wrong, and nothing is done."""
    side = side_of(keeps=keeps)
    unsigned = RecordingClient()
    unsigned.send("/x", {"user": 7})
    answered = side.run(unsigned)
    assert (answered.status, side.bodies) == (401, [])
    assert b"not signed: the queue needs signing in handlers" in answered.body


def test_a_task_that_was_done_is_dropped_with_a_success(side_of: Callable[..., Side]) -> None:
    """By its id: another task with the same content is done."""
    side = side_of(keeps=True)
    bodies = []
    for task_id in ("one", "one", "two", "one"):
        side.client.send(f"/{task_id}", id=task_id)
        answered = side.run()
        assert (answered.status, answered.succeeded) == (200, True)
        bodies.append(answered.body)
    assert side.database.done == ["/one", "/two"]
    assert bodies == [b"app", b"done before", b"app", b"done before"]


@pytest.mark.parametrize("answer", [500, 404, 302])
def test_a_task_that_failed_is_done_again(side_of: Callable[..., Side], answer: int) -> None:
    """What it had begun is not kept, and neither is its id; its answer is that of the application."""
    side = side_of(keeps=True)
    side.answers = [answer, 202]
    statuses = []
    for _ in range(3):
        side.client.send("/x", id="one")
        statuses.append(side.run().status)
    assert statuses == [answer, 202, 200]
    assert side.database.done == ["/x"]
    assert len(side.bodies) == 2


def test_a_task_whose_work_raises_is_done_again(side_of: Callable[..., Side]) -> None:
    """The exception is the application's own affair."""
    side = side_of(keeps=True)
    side.answers = [ZeroDivisionError()]
    side.client.send("/x", id="one")
    with pytest.raises(ZeroDivisionError):
        side.run()
    side.client.send("/x", id="one")
    assert side.run().body == b"app"
    assert side.database.done == ["/x"]


def test_without_a_store_nothing_is_dropped(side_of: Callable[..., Side]) -> None:
    """An application that has its own way does not pay for it."""
    side = side_of(keeps=False)
    for _ in range(2):
        side.client.send("/x", id="one")
        assert side.run().body == b"app"
    assert len(side.bodies) == 2
