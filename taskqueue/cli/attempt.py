"""`taskqueue try`: one attempt by the settings of a queue, each step explained. No broker is needed."""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import Annotated, Any

import typer

from taskqueue.cli import common, given
from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.settings import QueueSettings, load

commands = common.commands()


@commands.command("try")
def attempt(
    queue: Annotated[
        str,
        typer.Argument(metavar="QUEUE", help="The queue by whose settings it is made.", show_default=False),
    ],
    url: given.Url,
    *,
    payload: given.Payload = None,
    metadata: given.Metadata = None,
    max_retries: given.MaxRetries = None,
    roll_back: given.RollBack = None,
    number: Annotated[
        int, typer.Option("--attempt", min=1, metavar="N", help="As if N - 1 attempts had failed before.")
    ] = 1,
    id_: Annotated[str | None, typer.Option("--id", help="The id of the task (default: a new one).")] = None,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Make one attempt now by the settings of a queue, without the broker, and explain each step.

    The request is a real one. What follows from it is told, and nothing is sent: no retry, no roll_back, no
    callback. Credentials in headers and logins in URLs are not shown. Exits with 1 where the task would not
    be done.
    """
    # Where they are asked for, and not for `--help`.
    from taskqueue.cli.attempts import Attempt, explain  # noqa: PLC0415
    from taskqueue.send.new_task import NewTask  # noqa: PLC0415

    settings = common.only(load(config), [queue])
    fields = given.fields(payload, metadata, max_retries=max_retries, roll_back=roll_back)
    task_id = id_ or f"try-{secrets.token_hex(8)}"
    try:
        made = Attempt.of(NewTask(url, queue, id=task_id, **fields), number, time.time())
    except InvalidTask as error:
        # Here the mistake is in the command line of the user.
        raise ConfigError(str(error)) from error
    explained = explain(made, _alone(settings.queues[queue]), _quiet if as_json else _show)
    if as_json:
        common.emit({"id": task_id, "queue": queue, **dataclasses.asdict(explained)})
    if explained.decision != "done":
        raise typer.Exit(common.FAILED)


def _alone(queue: QueueSettings) -> QueueSettings:
    """Leave out what is for the consumer as a whole."""
    return dataclasses.replace(queue, tracing="off", per_host=None)


def _show(seconds: float, name: str, told: str) -> None:
    from taskqueue.cli import console, tables  # noqa: PLC0415

    first, *more = told.split("\n")
    console.out.print(tables.cell(f"{seconds:7.3f} s  {name:<9} {first}"), soft_wrap=True)
    for line in more:
        console.out.print(tables.cell(f"{'':<20} {line}", "dim"), soft_wrap=True)


def _quiet(*_: Any) -> None:
    """Say nothing until all is known."""
