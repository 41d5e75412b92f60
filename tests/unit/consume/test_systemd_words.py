"""What systemd is told, read from the socket that it would listen on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskqueue.consume.health import STALE, Board, Pulse
from taskqueue.consume.systemd import asked_for


class Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Give the address of a socket, and what reads the lines that came."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@taskqueue-{os.getpid()}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        sock.settimeout(10)
        yield name, lambda: sock.recv(4096).decode().splitlines()


def test_systemd_hears_of_begin_state_and_end(manager: tuple[str, Callable[[], list[str]]]) -> None:
    """Ready once, the watchdog each time, the status where it has changed."""
    address, heard = manager
    environ = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    board = Board()
    systemd = asked_for(board, environ)
    assert systemd is not None
    # Our children are not to speak for us.
    assert environ == {"A": "b"}
    systemd.look()
    assert heard() == ["WATCHDOG=1", "STATUS=is starting"]
    board.take(1, Pulse(("not connected to the broker",)))
    systemd.look()
    assert heard() == ["READY=1", "WATCHDOG=1", "STATUS=not connected to the broker"]
    board.take(1, Pulse())
    systemd.look()
    assert heard() == ["WATCHDOG=1", "STATUS=connected, every queue is consumed"]
    systemd.look()
    assert heard() == ["WATCHDOG=1"]
    board.take(1, Pulse(("stopping",), stopping=True, running=3))
    systemd.look()
    assert heard() == ["STOPPING=1", "WATCHDOG=1", "STATUS=stopping, 3 tasks still run"]


def test_the_watchdog_starves_with_any_io_thread(manager: tuple[str, Callable[[], list[str]]]) -> None:
    """Systemd then starts the service again; and of many reasons the status names the first ones."""
    address, heard = manager
    clock = Clock()
    board = Board(5, clock=clock)
    systemd = asked_for(board, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
    assert systemd is not None
    for number in range(1, 6):
        board.take(number, Pulse())
    systemd.look()
    assert "WATCHDOG=1" in heard()
    clock.now = STALE + 1
    board.take(1, Pulse())
    systemd.look()
    (line,) = heard()
    assert line.startswith("STATUS=process 2: its I/O thread has not ticked for 16 s; process 3: ")
    assert line.endswith("; and 1 more")


def test_a_watchdog_of_another_process_is_not_fed(manager: tuple[str, Callable[[], list[str]]]) -> None:
    """The variable may be that of who has started us."""
    address, heard = manager
    systemd = asked_for(Board(), {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"})
    assert systemd is not None
    systemd.look()
    assert heard() == ["STATUS=is starting"]


def test_nothing_is_told_where_nobody_listens() -> None:
    """Without systemd there is nothing to do, and a socket that is gone is no error."""
    assert asked_for(Board(), {}) is None
    systemd = asked_for(Board(), {"NOTIFY_SOCKET": "/nonexistent/notify"})
    assert systemd is not None
    systemd.look()
