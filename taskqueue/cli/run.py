"""`taskqueue run`: consume until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from taskqueue import logs
from taskqueue.broker.connect import parameters
from taskqueue.cli import common
from taskqueue.consume import watch
from taskqueue.consume.consumer import GRACE, Consumer
from taskqueue.consume.metrics import Metrics
from taskqueue.consume.supervisor import (
    GAVE_UP,
    PATIENCE,
    PROCESS,
    Supervisor,
    place,
    stops,
    watched,
)
from taskqueue.declare.apply import declare as declare_plan
from taskqueue.errors import ConfigError
from taskqueue.history.recorder import recording
from taskqueue.settings import Settings, load

commands = common.commands()


@commands.command()
def run(
    *,
    declare: Annotated[bool, typer.Option("--declare", help="Declare what is missing first.")] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=0, max=1000, metavar="N", help="Processes; 0: one for each core. Default: that of the ini."
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long running requests get to finish on SIGTERM."),
    ] = GRACE,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    queues: common.Queues = None,
    config: common.Config = None,
) -> None:
    """Run due tasks until SIGTERM, SIGINT or SIGHUP. Another one, a second later or more, ends it at once."""
    if log_level not in logs.LEVELS:
        raise ConfigError(f"--log-level: must be one of {', '.join(logs.LEVELS)}, got {log_level!r}")
    if PROCESS in os.environ:
        with common.errors(plus=GAVE_UP):
            _child(*_start(config, queues, log_level), grace)
        return
    settings, whole = _start(config, queues, log_level)
    if declare:
        declare_plan(settings)
    count = settings.processes if processes is None else processes
    count = count or len(os.sched_getaffinity(0))
    if count > 1:
        raise SystemExit(_supervise(settings, count))
    with (
        watch.one(settings.metrics) as (metrics, watched_by),
        _consumer(settings, whole, metrics, watched_by) as consumer,
    ):
        _heed_signals(consumer)
        consumer.run(grace=grace)


def _start(config: common.Config, queues: common.Queues, log_level: str) -> tuple[Settings, Settings]:
    """Give the settings of the queues that were asked for, and those of all queues, and begin to log."""
    whole = load(config)
    settings = common.only(whole, queues)
    logs.start(settings.log_format, log_level)
    return settings, whole


def _supervise(settings: Settings, count: int) -> int:
    # Blocked before any thread starts, so that every thread leaves the signals to the supervisor.
    signal.pthread_sigmask(signal.SIG_BLOCK, watched())
    command = [sys.executable, "-m", "taskqueue", *sys.argv[1:]]
    with watch.many(settings.metrics, count) as shown:
        return Supervisor(command, count, os.environ, shown).run()


def _child(settings: Settings, whole: Settings, grace: float) -> None:
    """Run one of several consumers, until a signal comes or the parent ends."""
    which = os.environ[PROCESS]
    metrics, watched_by = watch.child(place(which))
    with _consumer(settings, whole, metrics, watched_by) as consumer:
        threading.Thread(target=_watch_parent, args=(consumer,), daemon=True).start()
        _heed_signals(consumer)
        # The parent had the signals blocked. One that came in the meantime is delivered now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched())
        consumer.run(grace=grace)


def _watch_parent(consumer: Consumer) -> None:
    """Stop when the pipe that the parent holds ends, as the parent has ended then."""
    while os.read(0, 1):
        pass
    consumer.stop()


@contextmanager
def _consumer(
    settings: Settings, whole: Settings, metrics: Metrics, watched_by: watch.Watch | None
) -> Iterator[Consumer]:
    """Give a consumer, whose events are recorded as long as the context lasts."""
    with recording(settings, metrics.history_dropped) as listeners:
        hosts = parameters(settings, name="taskqueue run")
        yield Consumer(settings, hosts, metrics, known=whole.queues, watch=watched_by, listeners=listeners)


def _heed_signals(consumer: Consumer) -> None:
    asked: float | None = None

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        now = time.monotonic()
        if asked is None:
            asked = now
            consumer.stop()
        elif now - asked >= PATIENCE:
            # Nothing is lost: the broker hands out again what is not acked.
            os._exit(128 + number)

    for number in stops():
        signal.signal(number, handle)
