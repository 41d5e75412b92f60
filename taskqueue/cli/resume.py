"""`taskqueue resume`: have the tasks of a paused queue run."""

from __future__ import annotations

from typing import Annotated

import typer

from taskqueue import events
from taskqueue.broker.session import connected, run
from taskqueue.cli import common
from taskqueue.history import acts
from taskqueue.operate import pause as pausing
from taskqueue.settings import load

commands = common.commands()


@commands.command()
def resume(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", show_default=False)],
    *,
    config: common.Config = None,
) -> None:
    """Have the tasks of a paused queue run again; a queue that is not paused stays as it is."""
    settings = common.only(load(config), [queue])

    async def work() -> None:
        async with connected(settings, name="taskqueue resume") as session:
            await pausing.resume(session, queue, settings.queues[queue].ladder)

    with acts.noted(settings, events.RESUMED, queue, tell=common.say) as acted:
        run(work())
        acted(None)
        common.line(f"{queue}: not paused")
