"""What every command shares: options, where output goes, and how an error becomes an exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskqueue import logs
from taskqueue.cli import streams
from taskqueue.errors import ConfigError, TaskqueueError
from taskqueue.settings import QueueSettings, Settings

FAILED = 1
"""Exit code: the command worked, and found something that is not as it should be."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="taskqueue.ini; else TASKQUEUE_CONFIG_FILE, /etc/taskqueue/taskqueue.ini, ./taskqueue.ini.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", metavar="NAME", help="Only this queue; can be given several times."),
]


class Commands(TyperGroup):
    """A group whose help tells what each of its commands does to the end of the paragraph."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command, with a help text in lists that is not cut."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and found.help and not found.short_help:
            found.short_help = " ".join(found.help.strip().split("\n\n")[0].split())
        return found


def commands(about: str | None = None) -> typer.Typer:
    """Make what a file registers its command with, or the several of its group, which `about` tells of."""
    return typer.Typer(
        cls=Commands,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        # Usage errors as plain lines: a box wraps them, and a log or a grep loses the words.
        rich_markup_mode=None,
    )


def emit(data: Any) -> None:
    """Print one JSON document on standard output: escaped where the locale can't hold it.

    A list has a line for each of its rows. It may be long, and Python takes ten times as long to indent it.
    """
    text = _written(data, ensure_ascii=False)
    line(text if streams.fits(text) else _written(data, ensure_ascii=True))


def _written(data: Any, *, ensure_ascii: bool) -> str:
    if not isinstance(data, list) or not data:
        return json.dumps(data, indent=2, ensure_ascii=ensure_ascii)
    write = json.JSONEncoder(ensure_ascii=ensure_ascii).encode
    return "[\n  " + ",\n  ".join(map(write, data)) + "\n]"


def line(text: str) -> None:
    """Print a line on standard output."""
    lines((text,))


def lines(texts: Iterable[str]) -> None:
    """Print lines on standard output, however many there are."""
    sys.stdout.writelines(f"{text}\n" for text in texts)
    sys.stdout.flush()


def say(text: str, style: str = "") -> None:
    """Print a line for people: on standard error, so that standard output stays what was asked for."""
    from taskqueue.cli import console  # noqa: PLC0415 rich is slow to import, and most that say nothing need none

    console.say(text, style)


def limited(settings: Settings, only: Sequence[str] | None) -> tuple[QueueSettings, ...]:
    """Give the queues that were asked for, or all; raises ConfigError for one that is not configured."""
    if not only:
        return tuple(settings.queues.values())
    for name in only:
        if name not in settings.queues:
            known = ", ".join(settings.queues) or "none"
            msg = f"queue {name!r} is not in the configuration: it has {known}"
            raise ConfigError(msg)
    return tuple(settings.queues[name] for name in dict.fromkeys(only))


def only(settings: Settings, names: Sequence[str] | None) -> Settings:
    """Give the settings with only the queues that were asked for, or with all; raises ConfigError."""
    return dataclasses.replace(settings, queues={queue.name: queue for queue in limited(settings, names)})


@contextmanager
def errors(*, plus: int = 0) -> Iterator[None]:
    """Turn every error but faults in the code into one line and an exit code, to which `plus` is added."""
    try:
        yield
    except streams.OutputFailed as error:
        streams.drop()
        fail(error, plus=plus)
    except TaskqueueError as error:
        fail(error, plus=plus)


def fail(error: TaskqueueError, *, plus: int = 0) -> None:
    """Print the error as one red line on standard error, and exit with its code and `plus`."""
    # After the log, if there is one. Where nobody reads the log, nobody would read this.
    if logs.finish():
        say(f"taskqueue: {error}", "red")
    raise SystemExit(error.exit_code + plus)
