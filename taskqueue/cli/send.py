"""`taskqueue send`: one task from the command line, or many from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import taskqueue
from taskqueue.cli import common, given
from taskqueue.errors import ConfigError, InvalidTask, PublishFailed
from taskqueue.settings import load

commands = common.commands()


@commands.command()
def send(
    queue: Annotated[
        str, typer.Argument(metavar="QUEUE", help="The queue in which it runs.", show_default=False)
    ],
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="A path (joined to the queue's base_url) or a full http(s) URL.",
            show_default=False,
        ),
    ] = None,
    *,
    payload: given.Payload = None,
    countdown: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wait so long before it runs.")
    ] = None,
    eta: Annotated[float | None, typer.Option(metavar="POSIX", help="Run it at this time.")] = None,
    max_retries: given.MaxRetries = None,
    expires: Annotated[
        float | None, typer.Option(metavar="POSIX", help="Do not run it after this time.")
    ] = None,
    roll_back: given.RollBack = None,
    metadata: given.Metadata = None,
    id_: Annotated[str | None, typer.Option("--id", help="The id of the task (default: a new one).")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=255, help="AMQP priority.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the confirm.")
    ] = 30.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: show due time, way, and the request as curl.")
    ] = False,
    many: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Send a task for each line of JSON (- is standard input): the fields of the message, id and "
            "priority. URL and options are for lines that do not say so themselves.",
        ),
    ] = None,
    done: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --many: keep the ids that are confirmed in this file, and leave out those in it: so "
            "the command can be given again.",
        ),
    ] = None,
    config: common.Config = None,
    as_json: common.Json = False,
) -> None:
    """Send a task, and print its id when the broker has confirmed it.

    --dry-run needs the whole configuration, as a consumer does. With --many, a line that can't be a task is
    told and left out, and the exit code is 1 then.
    """
    options: dict[str, Any] = given.fields(
        payload, metadata, countdown=countdown, eta=eta, max_retries=max_retries, expires=expires,
        roll_back=roll_back, id=id_, priority=priority,
    )  # fmt: skip
    _check(url, options, many=many, done=done, dry_run=dry_run)
    settings = load(config, sending=not dry_run)
    if many is not None:
        from taskqueue.cli import send_many  # noqa: PLC0415 only where it is wanted

        defaults = {name: value for name, value in {"url": url, **options}.items() if value is not None}
        send_many.send(many, queue, defaults, done, settings, timeout=timeout, as_json=as_json)
        return
    try:
        if dry_run:
            from taskqueue.cli import dry_run as preview  # noqa: PLC0415
            from taskqueue.send.new_task import NewTask  # noqa: PLC0415

            if not preview.show(NewTask(url or "", queue, **options), settings, as_json=as_json):
                raise typer.Exit(common.FAILED)
            return
        # Not by its name: it is imported when a task is sent, and not for `--help`.
        with taskqueue.Client(settings=settings, timeout=timeout, through_alarms=False) as client:
            sent = client.send(url or "", queue, **options)
    except PublishFailed as error:
        # Its id is in the error's line; who reads JSON gets it there.
        if as_json:
            common.emit({"id": error.ids[0] if error.ids else id_, "queue": queue, "confirmed": False})
        raise
    except InvalidTask as error:
        # Here the mistake is in the command line of the user.
        raise ConfigError(str(error)) from error
    if as_json:
        common.emit({"id": sent, "queue": queue})
    else:
        common.line(sent)


def _check(
    url: str | None, options: dict[str, Any], *, many: str | None, done: Path | None, dry_run: bool
) -> None:
    if many is None:
        if url is None:
            raise ConfigError("Missing argument 'URL': what is to be called, or --many FILE")
        if done is not None:
            raise ConfigError("--done: goes with --many only")
    elif dry_run:
        raise ConfigError("--many and --dry-run: choose one of them")
    elif options["id"] is not None:
        raise ConfigError("--id: with --many each line has its own")
