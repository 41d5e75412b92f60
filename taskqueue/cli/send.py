"""`taskqueue send`: one task from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import taskqueue
from taskqueue.cli import common
from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.settings import load

commands = common.commands()


@commands.command()
def send(
    queue: Annotated[str, typer.Argument(help="The queue in which it runs.")],
    url: Annotated[
        str, typer.Argument(help="A path (joined to the queue's base_url) or a full http(s) URL.")
    ],
    *,
    payload: Annotated[
        str | None,
        typer.Option(
            help="JSON for the body of the POST; @FILE reads it from a file, - from standard input."
        ),
    ] = None,
    countdown: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wait so long before it runs.")
    ] = None,
    eta: Annotated[float | None, typer.Option(metavar="POSIX", help="Run it at this time.")] = None,
    max_retries: Annotated[int | None, typer.Option(metavar="N", help="Run it at most N times.")] = None,
    expires: Annotated[
        float | None, typer.Option(metavar="POSIX", help="Do not run it after this time.")
    ] = None,
    roll_back: Annotated[
        str | None, typer.Option(metavar="URL", help="Called once it has failed for good.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="An object for request handlers.")
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", help="The id of the task (default: a new one).")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=255, help="AMQP priority.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the confirm.")
    ] = 30.0,
    config: common.Config = None,
    as_json: common.Json = False,
) -> None:
    """Send a task, and print its id when the broker has confirmed it."""
    options: dict[str, Any] = {
        "countdown": countdown, "eta": eta, "max_retries": max_retries, "expires": expires,
        "roll_back": roll_back, "id": id_, "priority": priority,
    }  # fmt: skip
    if metadata is not None:
        options["metadata"] = _json("--metadata", metadata)
    if payload is not None:
        options["payload"] = _payload(payload)
    settings = load(config, sending=True)
    try:
        # Not by its name: it is imported when a task is sent, and not for `--help`.
        with taskqueue.Client(settings=settings, timeout=timeout, through_alarms=False) as client:
            sent = client.send(url, queue, **options)
    except InvalidTask as error:
        # Here the mistake is in the command line of the user.
        raise ConfigError(str(error)) from error
    if as_json:
        common.emit({"id": sent, "queue": queue})
    else:
        common.line(sent)


def _payload(option: str) -> str:
    """Read the payload: checked to be JSON, and sent as it was written."""
    try:
        text = option
        if option == "-":
            text = sys.stdin.buffer.read().decode("utf-8")
        elif option.startswith("@"):
            text = Path(option[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--payload: can't read it: {error}") from error
    _json("--payload", text)
    return text


def _json(option: str, text: str) -> Any:
    # Where it is asked for, and not for `--help`.
    from taskqueue.task.document import value_of  # noqa: PLC0415

    try:
        return value_of(text)
    except RecursionError as error:
        raise ConfigError(f"{option}: is nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"{option}: is not JSON: {error}") from error
