"""`taskqueue probe`: how late the ladder is, told by a message that walks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import common, tables
from taskqueue.operate import probe as probing
from taskqueue.operate.probe import Probed, Walk
from taskqueue.settings import load

commands = common.commands()


@commands.command()
def probe(
    queues: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only the ladders of these queues.")
    ] = None,
    *,
    countdown: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, max=60, help="How long it waits on the ladder.")
    ] = 1.1,
    max_late: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Exit with 1 where it comes later than this.")
    ] = 2.0,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How late it may be until it is given up.")
    ] = 10.0,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Send a message of our own over each ladder and say how late it comes; exits with 1 where it is late.

    No task, no consumer and no receiver has a part in it, and no work queue gets it. So it tells a ladder
    that is late from consumers that are. Looks at what waits (`waiting`, `show`) wait until it is over.
    Exits with 1 also where it does not come, and where the clocks of this machine and the broker differ.
    """
    settings = common.only(load(config), queues)
    # What is later than this is late, so it is waited for at least as long.
    patience = max(timeout, max_late)
    users: dict[str, list[str]] = {}
    for queue in settings.queues.values():
        users.setdefault(queue.ladder, []).append(queue.name)
    ways = [probing.walk(ladder, settings.rungs, countdown) for ladder in users]

    async def one(session: Session, way: Walk) -> Probed:
        return await probing.probe(session, settings, way, patience)

    async def work() -> list[Probed]:
        async with connected(settings, name="taskqueue probe") as session:
            # Each takes two channels and a connection.
            return await session.each("", one, ways, at_once=4)

    rows = [_row(each, users[each.walk.ladder], max_late) for each in run(work())]
    if as_json:
        common.emit(rows)
    else:
        _show(rows)
    if not all(row["good"] for row in rows):
        raise typer.Exit(common.FAILED)


def _row(probed: Probed, queues: Sequence[str], max_late: float) -> dict[str, Any]:
    late = probed.lateness
    return {
        "ladder": probed.walk.ladder,
        "queues": list(queues),
        "rungs": list(probed.walk.stays),
        "countdown": probed.walk.seconds,
        "lateness": None if late is None else round(late, 3),
        "clock": None if probed.clock is None else round(probed.clock),
        "good": late is not None and late <= max_late and not probed.clock,
        "why": probed.why,
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    filled = tables.table("ladder", "rungs", "late", "what", right=("late",))
    for row in rows:
        late = "?" if row["lateness"] is None else f"{row['lateness']:.2f} s"
        what = row["why"] or ("in time" if row["good"] else "late")
        cells = map(tables.cell, (row["ladder"], " ".join(row["rungs"]), late, what))
        filled.add_row(*cells, style="" if row["good"] else "red")
    tables.show(filled)
