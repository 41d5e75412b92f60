"""`taskqueue run`: consume until told to stop."""

from __future__ import annotations

import dataclasses
import os
import signal
from types import FrameType
from typing import Annotated

import typer

from taskqueue import logs
from taskqueue.broker import parameters
from taskqueue.cli import app, frame
from taskqueue.consumer import GRACE, Consumer
from taskqueue.errors import ConfigError
from taskqueue.metrics import started
from taskqueue.settings import Settings, load

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@app.command()
def run(
    *,
    declare: Annotated[bool, typer.Option("--declare", help="Declare what is missing first.")] = False,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long running requests get to finish on SIGTERM.")
    ] = GRACE,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    queues: frame.Queues = None,
    config: frame.Config = None,
) -> None:
    """Run due tasks until SIGTERM or SIGINT; a second signal ends it at once."""
    if log_level not in logs.LEVELS:
        raise ConfigError(f"--log-level: must be one of {', '.join(logs.LEVELS)}, got {log_level!r}")
    settings = load(config)
    logs.start(settings.log_format, log_level)
    if declare:
        _declare(settings)
    consume(settings, only=queues, grace=grace)


def consume(settings: Settings, *, only: list[str] | None, grace: float) -> None:
    """Run one consumer in this process, ended by signals."""
    wanted = {queue.name: queue for queue in frame.limited(settings, only)}
    consumer = Consumer(
        dataclasses.replace(settings, queues=wanted),
        parameters(settings, name="taskqueue run"),
        started(settings.metrics),
        known=frozenset(settings.queues),
    )
    for number in _SIGNALS:
        signal.signal(number, _ending(consumer))
    consumer.run(grace=grace)


def _ending(consumer: Consumer) -> signal._HANDLER:
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            # Nothing is lost: the broker hands out again what is not acked.
            os._exit(128 + number)
        asked = True
        consumer.stop()

    return handle


def _declare(settings: Settings) -> None:
    from taskqueue.topology.declare import declare

    declare(settings)
