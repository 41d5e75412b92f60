"""A stop that a signal handler asks for, in the thread that waits for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from taskqueue.consume.stop import Stop


@pytest.fixture
def _untraced() -> Iterator[None]:
    yield
    sys.settrace(None)


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("line", range(1, 60))
def test_a_handler_may_interrupt_the_wait_at_each_line_of_it(line: int) -> None:
    """Where it comes after the last one there is, the wait has not begun to block, or is woken."""
    stop = Stop()
    seen = 0

    def trace(_frame: FrameType, event: str, _value: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                stop.ask()
        return trace

    waker = threading.Timer(0.05, stop.ask)
    waker.start()
    sys.settrace(trace)
    stop.wait()
    sys.settrace(None)
    waker.join()
    assert stop.asked


def test_a_signal_ends_the_wait_of_its_own_thread() -> None:
    """Python runs the handler in the main thread, which stands in the wait."""
    stop = Stop()
    former = signal.signal(signal.SIGUSR1, lambda *_: stop.ask())
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        stop.wait()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert stop.asked


def test_a_signal_that_another_thread_got_ends_the_wait_too() -> None:
    """Python runs its handler once the main thread runs again, which nothing else sees to."""
    stop = Stop()
    former = signal.signal(signal.SIGUSR1, lambda *_: stop.ask())

    def take() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    thread = threading.Thread(target=take)
    try:
        thread.start()
        stop.wait()
    finally:
        signal.signal(signal.SIGUSR1, former)
    thread.join()
    assert stop.asked
