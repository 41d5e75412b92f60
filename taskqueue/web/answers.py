"""What every page has: the site that it is a part of, and how an answer is made."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from taskqueue import cron
from taskqueue.errors import ConfigError, InvalidTask, NotDeclared, TaskqueueError
from taskqueue.logs import harmless
from taskqueue.operate.reading import moment
from taskqueue.operate.ready import NotPaused
from taskqueue.send.async_client import AsyncClient
from taskqueue.settings import QueueSettings, Settings
from taskqueue.web.access import Access, Visitor
from taskqueue.web.desk import Desk
from taskqueue.web.jobs import Jobs
from taskqueue.web.orders import Order
from taskqueue.web.place import Place
from taskqueue.web.rows import title

log = logging.getLogger("taskqueue.web")
RETRY_AFTER = {"Retry-After": "5"}
_LARGEST_FORM = 2**20


class NotFound(TaskqueueError):
    """There is no such page, queue or task."""


class Forbidden(TaskqueueError):
    """Whoever asks may not."""


class TooLarge(TaskqueueError):
    """More was sent than is read."""


class CutOff(TaskqueueError):
    """The client has gone before it had sent all."""


_STATUSES = (
    ((InvalidTask, ConfigError, CutOff), 400),
    (Forbidden, 403),
    (NotFound, 404),
    ((NotPaused, NotDeclared), 409),
    (TooLarge, 413),
)
"""All else is about the broker, and may be over at the next try."""


@dataclass(slots=True)
class Asked:
    """An order, and the job that does it once it was confirmed."""

    order: Order
    doing: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """All that the pages are made from."""

    settings: Settings
    place: Place
    access: Access
    desk: Desk
    jobs: Jobs
    client: AsyncClient
    orders: dict[str, Asked]
    """What was asked for, by the id of the job that counts what it is about."""
    env: Environment


def environment(place: Place) -> Environment:
    """Read the templates; whatever they show is escaped."""
    env = Environment(
        loader=PackageLoader("taskqueue.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["plain"] = lambda value: harmless(str(value))
    env.filters["moment"] = moment
    env.filters["instant"] = cron.moment
    env.filters["title"] = title
    env.globals["to"] = place.to
    return env


def site(request: Request) -> Site:
    """Give the site that a request came to."""
    found: Site = request.app.state.site
    return found


def visitor(request: Request) -> Visitor | None:
    """Tell who has shown the token, None for who has not."""
    found: Visitor | None = request.state.visitor
    return found


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Make a page of a template."""
    who = visitor(request)
    text = (
        site(request)
        .env.get_template(template)
        .render(
            visitor=who,
            csrf=who.csrf if who is not None and who.csrf is not None else "",
            now=time.time(),
            here=address(request),
            **context,
        )
    )
    return HTMLResponse(text, status, RETRY_AFTER if status == 503 else None)  # noqa: PLR2004 a status


def failed(request: Request, error: TaskqueueError) -> Response:
    """Make a page of what went wrong."""
    return page(request, "error.html", status(error), error=str(error).removeprefix("--"))


def status(error: TaskqueueError) -> int:
    """Give the status of an answer for an error."""
    return next((found for kinds, found in _STATUSES if isinstance(error, kinds)), 503)


def other(request: Request, *parts: str, **query: str | None) -> Response:
    """Send a browser to another page, by a GET."""
    return RedirectResponse(site(request).place.to(*parts, **query), 303)


def address(request: Request) -> str:
    """Give the address that was asked for; that of the front, where it might lead elsewhere."""
    # Not request.url: up to starlette 0.52 it is made of the header Host too, whatever stands there.
    query, place = request.scope["query_string"].decode("latin-1"), site(request).place
    return place.back(f"{place.prefix}{request.scope['path']}{'?' if query else ''}{query}")


def queue(request: Request) -> QueueSettings:
    """Give the queue of an address; raises NotFound."""
    return known(request, named(request, "queue"))


def known(request: Request, name: str) -> QueueSettings:
    """Give the queue of a name; raises NotFound."""
    found = site(request).settings.queues.get(name)
    if found is None:
        raise NotFound(f"queue {name[:200]!r} is not in the configuration")
    return found


def named(request: Request, part: str) -> str:
    """Give a part of an address; what stands there encoded may hold a slash."""
    return unquote(request.path_params[part])


async def body(request: Request, most: int) -> bytes:
    """Read what was sent; raises TooLarge where it is more than `most` bytes, and CutOff."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise TooLarge(f"at most {most} bytes are taken, got {length}")
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise TooLarge(f"at most {most} bytes are taken")
            parts.append(part)
    except ClientDisconnect as error:
        # No fault of ours: everybody who can connect can do that, and has no line in the log for it.
        raise CutOff("the client has gone before it had sent all") from error
    return b"".join(parts)


async def form(request: Request) -> Mapping[str, str]:
    """Read a form; where a name is there twice the last one counts. Raises TooLarge, CutOff."""
    data = await body(request, _LARGEST_FORM)
    return dict(parse_qsl(data.decode(errors="replace"), keep_blank_values=True))
