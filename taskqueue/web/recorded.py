"""The page of the history: what has happened lately, in one queue or in all, and what failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taskqueue.broker.session import connected
from taskqueue.history import search, wanted
from taskqueue.history.search import Answer
from taskqueue.history.wanted import Wanted
from taskqueue.settings import Settings
from taskqueue.web import answers, choosing, pages
from taskqueue.web.answers import site
from taskqueue.web.desk import NAME
from taskqueue.web.jobs import Job
from taskqueue.web.place import flat
from taskqueue.web.rows import record_row


async def history(request: Request) -> Response:
    """List what has happened, the last first; where no history is kept, say how to have one."""
    settings, fields = site(request).settings, flat(request.query_params)
    queue = fields.get("queue")
    if queue is not None:
        answers.known(request, queue)
    fields = {"since": wanted.SINCE, "limit": str(choosing.LIMIT), **fields}
    context: dict[str, Any] = {"queue": queue, "queues": list(settings.queues), "fields": fields}
    if settings.history is None:
        return answers.page(request, "history.html", why=wanted.OFF, **context)
    now = time.time()
    chosen = Wanted(
        wanted.moment(fields["since"], now),
        now,
        failed=fields.get("failed") == "yes",
        url=fields.get("url"),
        queues=frozenset(settings.queues if queue is None else (queue,)),
    )
    job = await pages.looked(request, "history", _look(settings, chosen, choosing.limit(fields)))
    if job is None:
        return pages.looking(request)
    found: Answer = job.result
    rows = [record_row(each) for each in reversed(found.records)]
    columns = [name for name in wanted.used(rows) if name != "queue" or queue is None]
    return answers.page(
        request, "history.html", why=None, rows=rows, columns=columns, total=found.total,
        nothing=wanted.NOTHING, problems=[wanted.lacking(found.dropped)] if found.dropped else [], **context,
    )  # fmt: skip


def _look(settings: Settings, chosen: Wanted, limit: int) -> Callable[[Job], Answer]:
    async def work(job: Job) -> Answer:
        async with connected(settings, name=NAME) as session:
            return await search.within(session, chosen, limit, lambda read: job.tell(read, 0))

    return lambda job: job.run(work(job))
