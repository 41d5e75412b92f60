"""The pages that only show: counts, and what is asked for of tasks and schedules."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from taskqueue.errors import ConfigError
from taskqueue.history.wanted import used
from taskqueue.operate import due
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.picture import Picture, condition, pause_line
from taskqueue.operate.reasons import reasons
from taskqueue.web import answers, choosing, looks, shown
from taskqueue.web.answers import NotFound, site
from taskqueue.web.chart import chart
from taskqueue.web.doings import SCHEDULE_ACTS
from taskqueue.web.jobs import Job
from taskqueue.web.orders import ACTS, place_of
from taskqueue.web.rows import COLUMNS

_SOON = 2.0
"""Seconds that a page waits for what it shows, before it says how far that is."""


async def health(_request: Request) -> Response:
    """Say that this process answers, whatever the broker does."""
    return PlainTextResponse("ok\n")


async def front(request: Request) -> Response:
    """Show every queue."""
    desk, query = site(request).desk, request.query_params
    overview = await desk.overview()
    sort = next((each for each in shown.ORDERED if each == query.get("sort")), shown.STATE)
    named = query.get("named", "").strip()
    table = shown.table(overview, sort=sort, every=query.get("all") == "yes", named=named)
    dues = due.joined(ladder.due for ladder in overview.ladders.values())
    return answers.page(
        request, "front.html", overview=overview, table=table, columns=shown.COLUMNS, sorts=shown.ORDERED,
        sort=sort, named=named, every=query.get("all") == "yes", chart=chart(dues, overview.at),
        refresh=_refresh(request),
    )  # fmt: skip


async def queue(request: Request) -> Response:
    """Show one queue in words: its counts, when its tasks come due, why nothing runs."""
    found, desk = answers.queue(request), site(request).desk
    overview = await desk.overview()
    view = next(each for each in overview.views if each.name == found.name)
    cells = shown.cells(view, overview.at)
    further = list(Picture(_alone(overview, view)).further())
    paused = [] if view.pause is None else [pause_line(view.pause)]
    return answers.page(
        request, "queue.html", view=view, overview=overview, condition=condition(view),
        cells=[(shown.COLUMNS[key], text) for key, text in cells.items()],
        lines=[*paused, *reasons(view), *further],
        level=shown.level(view) or ("warn" if further else ""),
        forecast=shown.forecast(view, overview.at),
        chart=chart(view.ladder.due, overview.at),
        refresh=_refresh(request),
    )  # fmt: skip


async def tasks(request: Request) -> Response:
    """List the tasks of a queue that wait, are ready or are dead: once that is asked for."""
    found, where = answers.queue(request), _where(request)
    fields = dict(request.query_params)
    context: dict[str, Any] = {
        "queue": found.name, "where": where, "places": choosing.PLACES, "columns": COLUMNS[where],
        "acts": ACTS[where], "fields": fields, "conditions": choosing.conditions(fields),
        "queues": list(site(request).settings.queues),
    }  # fmt: skip
    if fields.get("look") != "yes":
        view = _view(await site(request).desk.overview(), found.name)
        counts = {"waiting": view.ladder.waiting, "ready": view.state.ready, "dead": view.state.dead}
        count = shown.number(counts[where], known=counts[where] is not None)
        return answers.page(request, "tasks.html", listed=None, count=count, **context)
    wanted = choosing.chosen(fields, now=time.time())
    work = looks.listing(site(request).settings, found, where, wanted, choosing.limit(fields))
    job = await looked(request, place_of(found, where), work)
    if job is None:
        return looking(request)
    return answers.page(request, "tasks.html", listed=job.result, count="", **context)


async def task(request: Request) -> Response:
    """Show one task: what is known of it, its headers and its body, and what became of it so far."""
    found, where, task_id = answers.queue(request), _where(request), _id(request.query_params.get("id", ""))
    settings = site(request).settings
    view = _view(await site(request).desk.overview(), found.name)
    job = await looked(request, place_of(found, where), looks.single(settings, view, where, task_id))
    if job is None:
        return looking(request)
    if job.result is None:
        gone = f"{task_id} is not among the {where} tasks of {found.name}: it may have moved on"
        return answers.page(request, "error.html", 404, error=gone, id=task_id)
    return answers.page(
        request, "task.html", queue=found.name, where=where, id=task_id, found=job.result, acts=ACTS[where],
        queues=list(settings.queues), columns=used(job.result.records),
    )  # fmt: skip


async def find(request: Request) -> Response:
    """Say where a task is, why it has not run and when it will."""
    task_id = _id(request.query_params.get("id", "").strip())
    work = looks.everywhere(site(request).settings, task_id)
    job = await looked(request, "everywhere", work)
    if job is None:
        return looking(request)
    return answers.page(request, "find.html", id=task_id, found=job.result, columns=used(job.result.records))


async def timetable(request: Request) -> Response:
    """List the schedules as the broker has them."""
    settings = site(request).settings
    job = await looked(request, "schedules", looks.timetable(settings))
    if job is None:
        return looking(request)
    return answers.page(
        request, "schedules.html", schedules=job.result, acts=SCHEDULE_ACTS, known=settings.schedules
    )


def _where(request: Request) -> str:
    where = answers.named(request, "where")
    if where == "tasks":
        raise HTTPException(405, "here tasks are sent, by POST", {"Allow": "POST"})
    if where not in choosing.PLACES:
        raise NotFound(f"tasks are {', '.join(choosing.PLACES)}, and not {where[:60]!r}")
    return where


def _id(task_id: str) -> str:
    if not task_id:
        raise ConfigError("which task? give its id")
    return task_id


def _view(overview: Overview, name: str) -> View:
    return next(each for each in overview.views if each.name == name)


def _alone(overview: Overview, view: View) -> Overview:
    return replace(overview, views=(view,), ladders={view.ladder.name: view.ladder})


def _refresh(request: Request) -> int | None:
    given = request.query_params.get("refresh", "")
    return int(given) if given in {"5", "30"} else None


async def looked(request: Request, place: str, work: Callable[[Job], Any]) -> Job | None:
    """Wait a little for a look; None where it takes longer: the page asks again. Raises what it raised."""
    key = f"look {request.scope['path']}?{urlencode(sorted(request.query_params.multi_items()))}"
    jobs = site(request).jobs
    job = jobs.look(key, place, work)
    request.state.job = job
    if not await job.wait(_SOON):
        return None
    jobs.forget(key)
    if job.error is not None:
        raise job.error
    return job


def looking(request: Request) -> Response:
    """Show how far a look is; the page asks again."""
    return answers.page(request, "looking.html", job=request.state.job, refresh=1)
