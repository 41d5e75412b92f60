"""`taskqueue pause`: have a queue's tasks wait in its work queue."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from taskqueue import events
from taskqueue.broker.session import connected, run
from taskqueue.cli import common
from taskqueue.history import acts
from taskqueue.operate import pause as pausing
from taskqueue.operate.pause import Pause
from taskqueue.settings import load
from taskqueue.task.pause import said

commands = common.commands()


@commands.command()
def pause(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", show_default=False)],
    *,
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="End it by itself after 30s, 10m, 2h or 1d.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; shown by inspect and in the consumers' logs.")
    ] = None,
    config: common.Config = None,
) -> None:
    """Have no task of a queue begin, on any consumer, until `resume` or the end of --for.

    Within 2 seconds nothing begins; what runs ends. Tasks walk on along the ladder and gather in the work
    queue, and `expires` goes on. A queue that is paused gets the new end and reason.
    """
    settings = common.only(load(config), [queue])
    lasts_ms = None if lasts is None else pausing.milliseconds(lasts)
    now = time.time()
    about = Pause(acts.who(), reason, now, None if lasts_ms is None else now + lasts_ms / 1000)

    async def work() -> None:
        async with connected(settings, name="taskqueue pause") as session:
            await pausing.pause(session, queue, settings.queues[queue].ladder, about, lasts_ms=lasts_ms)

    with acts.noted(settings, events.PAUSED, queue, tell=common.say, at=about.until, reason=reason) as acted:
        run(work())
        acted(None)
        common.line(f"{queue}: paused{said(about)}")
