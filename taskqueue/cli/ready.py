"""`taskqueue ready`: what is ready in a queue that is paused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import choosing, common, tables
from taskqueue.cli.choosing import Deed
from taskqueue.operate import ready, waiting
from taskqueue.operate.acting import Acted, Note
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.operate.reading import Facts
from taskqueue.settings import QueueSettings, load

_NAME = "taskqueue ready"
_COLUMNS = {"id": 36, "url": 12, "error": 12, "runs": 4, "due": 24}
commands = common.commands("List and cancel what is ready in a queue that is paused.")

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="A queue that is paused.", show_default=False)]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    limit: choosing.Limit = 100,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """List tasks that are ready, in the order in which they will run.

    Only while the queue is paused, as nothing else gets what a look holds.
    """
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    settings = common.only(load(config), [queue])

    async def work() -> tuple[list[dict[str, Any]], Acted]:
        async with connected(settings, name=_NAME) as session:
            with tables.progress("looking") as progress:
                return await _first(session, settings.queues[queue], found or Filter(), limit, progress)

    rows, seen = run(work())
    if as_json:
        common.emit(rows)
    else:
        tables.show_rows(rows, _COLUMNS, total=seen.matched, kind="ready")
    choosing.tell(seen, f"is not ready in {queue}")


@commands.command()
def cancel(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    forget: Annotated[bool, typer.Option("--forget", help="Delete them: nothing undoes it.")] = False,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Bring tasks that are ready to the dead queue, reason cancelled, without a roll_back.

    `dead replay QUEUE --reason cancelled` undoes it. Only while the queue is paused.
    """
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    wanted = choosing.required(found, every=every)
    settings = common.only(load(config), [queue])
    deed = _deed(settings.queues[queue], wanted, forget=forget)
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


def _deed(queue: QueueSettings, wanted: Filter, *, forget: bool) -> Deed:
    what = waiting.forgotten if forget else waiting.cancelled(queue.name)
    words = choosing.FORGET if forget else choosing.CANCEL

    async def preview(session: Session, progress: Progress | None) -> tuple[list[dict[str, Any]], Acted]:
        return await _first(session, queue, wanted, choosing.SHOWN, progress)

    async def act(session: Session, progress: Progress | None, note: Note) -> Acted:
        await ready.require_paused(session, queue.name)
        return await ready.act(session, queue, wanted, what, progress=progress, note=note)

    return Deed(_NAME, *words, "ready", queue.name, _COLUMNS, preview, act)


async def _first(
    session: Session, queue: QueueSettings, wanted: Filter, limit: int, progress: Progress | None
) -> tuple[list[dict[str, Any]], Acted]:
    await ready.require_paused(session, queue.name)
    found, seen = await ready.first(session, queue, wanted, limit=limit, progress=progress)
    return [_row(facts) for facts in found], seen


def _row(facts: Facts) -> dict[str, Any]:
    return {
        "id": facts.id,
        "url": facts.url,
        "due": tables.moment(facts.due),
        "runs": facts.runs,
        "error": facts.error,
    }
