"""Reads the JSON that the options of a command hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from taskqueue.errors import ConfigError

Payload = Annotated[
    str | None,
    typer.Option(help="JSON for the body of the POST; @FILE reads it from a file, - from standard input."),
]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="An object for request handlers.")]
MaxRetries = Annotated[int | None, typer.Option(metavar="N", help="Run it at most N times.")]
RollBack = Annotated[str | None, typer.Option(metavar="URL", help="Called once it has failed for good.")]
Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="A path (joined to the queue's base_url) or a full http(s) URL.",
        show_default=False,
    ),
]


def fields(payload: str | None, metadata: str | None, **others: Any) -> dict[str, Any]:
    """Give the fields of a task as NewTask takes them; raises ConfigError for what is not JSON."""
    if metadata is not None:
        others["metadata"] = value("--metadata", metadata)
    if payload is not None:
        others["payload"] = _payload(payload)
    return others


def _payload(option: str) -> str:
    """Read the payload: checked to be JSON, and sent as it was written."""
    try:
        text = option
        if option == "-":
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        elif option.startswith("@"):
            text = Path(option[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--payload: can't read it: {error}") from error
    value("--payload", text)
    return text


def value(name: str, text: str) -> Any:
    """Read JSON; raises ConfigError that begins with `name`."""
    # Where it is asked for, and not for `--help`.
    from taskqueue.task.document import value_of  # noqa: PLC0415

    try:
        return value_of(text)
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"{name}: is not JSON: {error}") from error
