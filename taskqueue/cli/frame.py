"""What every command shares: options, where output goes, and how an error becomes an exit code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pika.exceptions import AMQPError, ChannelClosedByBroker
from rich.console import Console
from rich.text import Text

from taskqueue import logs
from taskqueue.errors import BrokerRefused, BrokerUnreachable, ConfigError, TaskqueueError
from taskqueue.settings import QueueSettings, Settings

FAILED = 1
"""Exit code: the command worked, and what it looked at is not as it should be."""

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

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def emit(data: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


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
    """Give the settings with no queues but those that were asked for, or as they are; raises ConfigError."""
    return dataclasses.replace(settings, queues={queue.name: queue for queue in limited(settings, names)})


@contextmanager
def errors(*, plus: int = 0) -> Iterator[None]:
    """Turn every error that is not a fault of ours into one line and an exit code, with `plus` added."""
    try:
        yield
    except TaskqueueError as error:
        fail(error, plus=plus)
    except ChannelClosedByBroker as error:
        fail(BrokerRefused(f"the broker refused: {error.reply_text}"), plus=plus)
    except AMQPError as error:
        msg = f"lost the connection to the broker ({error!r}): run the command again"
        fail(BrokerUnreachable(msg), plus=plus)


def fail(error: TaskqueueError, *, plus: int = 0) -> None:
    """Print the error as one red line on standard error, and exit with its code and `plus`."""
    # Behind the log, if there is one; and whoever does not read that would not read this.
    if logs.finish():
        say(f"taskqueue: {error}", "red")
    raise SystemExit(error.exit_code + plus)
