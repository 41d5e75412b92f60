"""The pages that change something: what is asked for, the question with its count, progress and result."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from taskqueue.errors import ConfigError, TaskqueueError
from taskqueue.web import answers, choosing, doings, orders
from taskqueue.web.answers import Asked, NotFound, log, site
from taskqueue.web.jobs import Job
from taskqueue.web.orders import Order, Outcome
from taskqueue.web.rows import COLUMNS

_SOON = 1.0
_MOST = 1000
"""Orders that are remembered."""


async def on_tasks(request: Request) -> Response:
    """Count what an act on tasks is about; nothing is done yet."""
    queue, where = answers.queue(request), answers.named(request, "where")
    if where not in choosing.PLACES:
        raise NotFound(f"there are no {where[:60]!r} tasks")
    # The id of one task stands in the address: a browser writes the ends of lines in a form anew.
    fields = {**request.state.form, "id": request.query_params.get("id", "")}
    order = orders.order(site(request).settings, where, queue.name, fields, _by(request))
    return await _asked(request, order)


async def on_queue(request: Request) -> Response:
    """Ask whether to pause, resume or probe a queue."""
    queue, desk = answers.queue(request), site(request).desk
    desk.changed()
    overview = await desk.overview()
    view = next(each for each in overview.views if each.name == queue.name)
    order = doings.on_queue(site(request).settings, view, request.state.form, _by(request))
    return await _asked(request, order)


async def on_schedule(request: Request) -> Response:
    """Ask whether to run, pause or resume a schedule."""
    name, settings = answers.named(request, "schedule"), site(request).settings
    if name not in settings.schedules:
        raise NotFound(f"schedule {name[:200]!r} is not in the configuration")
    return await _asked(request, doings.on_schedule(settings, name, request.state.form, _by(request)))


async def shown(request: Request) -> Response:
    """Show how it stands with an order: how far its look is, its question, its progress, its result."""
    asked, counting = _found(request)
    doing = asked.doing
    job = site(request).jobs.get(doing or counting)
    if job is None:
        raise NotFound("this was asked for long ago: ask again")
    ended = await job.wait(_SOON)
    error = None if job.error is None else str(job.error)
    return answers.page(
        request, "order.html", order=asked.order, id=counting, job=job, ended=ended, asked=not doing,
        seen=None if doing else job.result, outcome=job.result if doing else None, error=error,
        columns=COLUMNS.get(asked.order.where, ()), refresh=None if ended else 1,
    )  # fmt: skip


async def confirmed(request: Request) -> Response:
    """Do what was asked for; once, however often that is confirmed."""
    asked, counting = _found(request)
    jobs, desk, by, order = site(request).jobs, site(request).desk, _by(request), asked.order
    counted = jobs.get(counting)
    if asked.doing is None:
        if counted is None or not counted.done.is_set() or counted.error is not None:
            raise ConfigError("nothing was counted yet: ask again")

        def work(job: Job) -> Outcome:
            try:
                outcome = order.act(job)
            except TaskqueueError as error:
                log.warning("%s, by %s: %s", order.title, by, error)
                raise
            finally:
                desk.changed()
            log.info("%s, by %s: %s", order.title, by, outcome.line)
            return outcome

        asked.doing = jobs.start(order.place, work).id
    return answers.other(request, "orders", counting)


async def stopped(request: Request) -> Response:
    """Stop what goes on. What is done by then stays done."""
    asked, counting = _found(request)
    job = site(request).jobs.get(asked.doing or counting)
    if job is not None:
        job.stop()
    return answers.other(request, "orders", counting)


async def _asked(request: Request, order: Order) -> Response:
    found = site(request).orders
    while len(found) >= _MOST:
        del found[next(iter(found))]
    job = site(request).jobs.start(order.place, order.preview)
    found[job.id] = Asked(order)
    await job.wait(_SOON)
    return answers.other(request, "orders", job.id)


def _found(request: Request) -> tuple[Asked, str]:
    counting = answers.named(request, "order")
    found = site(request).orders.get(counting)
    if found is None:
        raise NotFound("this was asked for long ago, or of another run of the page: ask again")
    return found, counting


def _by(request: Request) -> str:
    who = answers.visitor(request)
    return f"{(who.name if who else None) or 'somebody'} (page)"
