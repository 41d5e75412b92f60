"""The application: which address leads where, who may go there, and what every answer has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskqueue.errors import TaskqueueError
from taskqueue.send.async_client import AsyncClient
from taskqueue.settings import Settings
from taskqueue.web import acting, answers, entrance, pages, posted, recorded
from taskqueue.web.access import COOKIE, Access, from_form, is_named_loopback
from taskqueue.web.answers import Forbidden, NotFound, Site, log
from taskqueue.web.desk import Desk
from taskqueue.web.jobs import Jobs
from taskqueue.web.place import Place

Handler = Callable[[Request], Awaitable[Response]]
_SENDING = 10.0
"""Seconds that a confirm may take: less than proxies wait for an answer."""
_TIDYING = 5.0
_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make(settings: Settings, access: Access, place: Place) -> ASGIApp:
    """Make the application for some settings."""

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        client = AsyncClient(settings=settings, timeout=_SENDING, through_alarms=False)
        site = Site(settings, place, access, Desk(settings), Jobs(), client, {}, answers.environment(place))
        app.state.site = site
        tidying = asyncio.create_task(_tidy(site.jobs))
        try:
            yield
        finally:
            tidying.cancel()
            await site.jobs.close()
            await site.desk.close()
            await client.close()

    app = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/healthz", pages.health),
            Route("/openapi.json", posted.described),
            Route("/login", _known(entrance.login), methods=["GET", "POST"]),
            Route("/logout", _change(entrance.logout), methods=["POST"]),
            Route("/", _counts(pages.front)),
            Route("/queues/{queue}", _counts(pages.queue)),
            Route("/queues/{queue}", _change(acting.on_queue), methods=["POST"]),
            Route("/queues/{queue}/tasks", _known(posted.post), methods=["POST"]),
            Route("/queues/{queue}/{where}", _people(pages.tasks)),
            Route("/queues/{queue}/{where}", _change(acting.on_tasks), methods=["POST"]),
            Route("/queues/{queue}/{where}/task", _people(pages.task)),
            Route("/find", _people(pages.find)),
            Route("/history", _people(recorded.history)),
            Route("/schedules", _people(pages.timetable)),
            Route("/schedules/{schedule}", _change(acting.on_schedule), methods=["POST"]),
            Route("/orders/{order}", _people(acting.shown)),
            Route("/orders/{order}", _change(acting.confirmed), methods=["POST"]),
            Route("/orders/{order}/stop", _change(acting.stopped), methods=["POST"]),
        ],
        exception_handlers={TaskqueueError: _failed, HTTPException: _nothing, Exception: _fault},
        lifespan=living,
    )
    app.router.redirect_slashes = False
    return _Outside(app, access, place)


async def _tidy(jobs: Jobs) -> None:
    while True:
        await asyncio.sleep(_TIDYING)
        jobs.tidy()


def _known(handler: Handler) -> Handler:
    """Let everybody in, and tell the handler who it is."""

    async def handle(request: Request) -> Response:
        access = answers.site(request).access
        request.state.visitor = access.bearer(request.headers.get("authorization")) or access.session(
            request.cookies.get(COOKIE), time.time()
        )
        return await handler(request)

    return handle


def _people(handler: Handler) -> Handler:
    """Let in who has shown the token."""

    async def handle(request: Request) -> Response:
        return await handler(request) if answers.visitor(request) else entrance.closed(request)

    return _known(handle)


def _counts(handler: Handler) -> Handler:
    """Let in who may see counts: everybody on this machine, where no token was given."""

    async def handle(request: Request) -> Response:
        may = answers.site(request).access.open_counts or answers.visitor(request)
        return await handler(request) if may else entrance.closed(request)

    return _known(handle)


def _change(handler: Handler) -> Handler:
    """Let in who has shown the token, by a form that is ours where a browser keeps it."""

    async def handle(request: Request) -> Response:
        who = answers.visitor(request)
        if who is None:
            return entrance.closed(request)
        request.state.form = await answers.form(request)
        if not from_form(who, request.state.form.get("csrf")):
            raise Forbidden("this form is not of this session: open the page anew, and ask again")
        return await handler(request)

    return _known(handle)


async def _failed(request: Request, error: Exception) -> Response:
    if not isinstance(error, TaskqueueError):
        raise error
    return answers.failed(_seen(request), error)


async def _nothing(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:  # noqa: PLR2004 a status
        return answers.failed(_seen(request), NotFound("there is no such page"))
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def _fault(_request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return PlainTextResponse("an error of taskqueue itself: its log tells more\n", 500)


def _seen(request: Request) -> Request:
    """Have a page of an error know of nobody, where it was not asked yet who it is."""
    if not hasattr(request.state, "visitor"):
        request.state.visitor = None
    return request


class _Outside:
    """What stands around every page: its prefix, its name, and the headers of each answer."""

    def __init__(self, app: ASGIApp, access: Access, place: Place) -> None:
        self._app = app
        self._access = access
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # As it came, so that a name with a slash in it is one part of the path.
        raw = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
        path = self._place.within(raw.partition("?")[0])
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        app: ASGIApp = self._app
        if self._access.open_counts and not is_named_loopback(host):
            app = PlainTextResponse(
                "without a token of your own only names of this machine lead here: set TASKQUEUE_WEB_TOKEN\n",
                403,
            )

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if not path.startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        inside = {**scope, "path": path or "/", "raw_path": (path or "/").encode(), "root_path": ""}
        await app(inside, receive, send_with)
