"""What a `taskqueue run` shows of itself: counts, health, and words for systemd, for one process or several.

A child sends a pulse once a second over a socket that its parent has made, and counts for the parent's page.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass

from taskqueue.consume import metrics, page, systemd
from taskqueue.consume.health import TICK, Board, Pulse, Report
from taskqueue.consume.metrics import Metrics, NullMetrics, PrometheusMetrics

PULSES = "TASKQUEUE_PULSES"
"""The environment variable that tells a child the number of its socket."""
_LARGEST = 65_536
Watch = Callable[[Report], None]


@contextmanager
def one(address: str | None) -> Iterator[tuple[Metrics, Watch | None]]:
    """Show a single process, on a page at `address` and to systemd, where they are wanted.

    Raises ConfigError where the address can't be used or the extra is missing.
    """
    board = Board()
    told = systemd.asked_for(board)
    if address is None and told is None:
        yield NullMetrics(), None
        return
    counts = PrometheusMetrics() if address is not None else NullMetrics()

    def watch(report: Report) -> None:
        counts.show(report)
        board.take(1, Pulse.of(report))
        if told is not None:
            told.look()

    with ExitStack() as stack:
        if address is not None and isinstance(counts, PrometheusMetrics):
            stack.enter_context(page.served(address, metrics.app(counts.registry), board))
        yield counts, watch


def child(number: int) -> tuple[Metrics, Watch | None]:
    """Show one of several processes to its parent."""
    counts = metrics.for_parent()
    descriptor = os.environ.pop(PULSES, None)
    if descriptor is None:
        return counts, None
    sock = socket.socket(fileno=int(descriptor))
    sock.set_inheritable(False)

    def watch(report: Report) -> None:
        counts.show(report)
        # A parent that does not read must not hold up the I/O thread; another pulse comes soon.
        with suppress(OSError):
            sock.send(json.dumps([number, asdict(Pulse.of(report))]).encode(), socket.MSG_DONTWAIT)

    return counts, watch


@dataclass(frozen=True, slots=True)
class Shown:
    """What a supervisor needs so that its children are shown."""

    environment: Mapping[str, str]
    descriptors: tuple[int, ...]
    board: Board
    ended: Callable[[int], None]
    """To be called with the pid of each child that has ended."""


@contextmanager
def many(address: str | None, count: int) -> Iterator[Shown]:
    """Show `count` child processes; raises ConfigError as `one` does."""
    board = Board(count)
    told = systemd.asked_for(board)
    if address is None and told is None:
        yield Shown({}, (), board, lambda _pid: None)
        return
    with ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        stack.callback(theirs.close)
        stack.callback(ours.close)
        theirs.set_inheritable(True)
        environment = {PULSES: str(theirs.fileno())}
        ended: Callable[[int], None] = lambda _pid: None  # noqa: E731 the same as below, and nothing to do
        if address is not None:
            folder, app, ended = stack.enter_context(metrics.shared())
            environment |= folder
            stack.enter_context(page.served(address, app, board))
        over = threading.Event()
        reader = threading.Thread(target=_read, args=(ours, board, told, over), daemon=True)
        reader.start()
        # Called first: nobody reads from a socket that is closed.
        stack.callback(reader.join, 2 * TICK)
        stack.callback(over.set)
        yield Shown(environment, (theirs.fileno(),), board, ended)


def _read(ours: socket.socket, board: Board, told: systemd.Systemd | None, over: threading.Event) -> None:
    ours.settimeout(TICK / 2)
    looked = time.monotonic()
    while not over.is_set():
        with suppress(TimeoutError):
            number, said = json.loads(ours.recv(_LARGEST))
            said["reasons"], said["paused"] = tuple(said["reasons"]), tuple(said["paused"])
            board.take(number, Pulse(**said))
        if told is not None and (over.is_set() or time.monotonic() - looked >= TICK / 2):
            looked = time.monotonic()
            told.look()
