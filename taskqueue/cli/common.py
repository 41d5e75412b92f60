"""What every command shares: options, where output goes, and how an error becomes an exit code."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pika.exceptions import AMQPError, ChannelClosedByBroker
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from typer.core import TyperGroup

from taskqueue import logs
from taskqueue.cli import streams
from taskqueue.errors import BrokerRefused, BrokerUnreachable, ConfigError, TaskqueueError
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

_ENDLESS = 100_000


class _Console(Console):
    """Formats for a real terminal only: everything else gets plain lines of full length."""

    @property
    def is_terminal(self) -> bool:
        """Tell whether the output is a terminal."""
        # rich says yes where FORCE_COLOR is set, and a pipe would get a table of 80 columns.
        try:
            file: Any = self.file
            return file is not None and file.isatty()
        except ValueError:
            return False

    @property
    def size(self) -> ConsoleDimensions:
        """Give the size of the terminal; in a pipe lines have no end."""
        return super().size if self.is_terminal else ConsoleDimensions(_ENDLESS, super().size.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        # rich fills the last column of a table with blanks.
        self.file.write(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE))
        self.file.flush()


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


class Commands(TyperGroup):
    """A group whose help tells what each of its commands does to the end of the paragraph."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command, with a help text in lists that is not cut."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and found.help and not found.short_help:
            found.short_help = " ".join(found.help.strip().split("\n\n")[0].split())
        return found


def emit(data: Any) -> None:
    """Print one JSON document on standard output: escaped where the locale can't hold it."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    line(text if streams.fits(text) else json.dumps(data, indent=2))


def line(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say(text: str, style: str = "") -> None:
    """Print a line for people: on standard error, so that standard output stays what was asked for."""
    err.print(Text(text, style), soft_wrap=True)


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
    except ChannelClosedByBroker as error:
        fail(BrokerRefused(f"the broker refused: {error.reply_text}"), plus=plus)
    except AMQPError as error:
        msg = f"lost the connection to the broker ({error!r}): run the command again"
        fail(BrokerUnreachable(msg), plus=plus)


def fail(error: TaskqueueError, *, plus: int = 0) -> None:
    """Print the error as one red line on standard error, and exit with its code and `plus`."""
    # After the log, if there is one. Where nobody reads the log, nobody would read this.
    if logs.finish():
        say(f"taskqueue: {error}", "red")
    raise SystemExit(error.exit_code + plus)
