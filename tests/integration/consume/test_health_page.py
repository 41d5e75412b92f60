"""/healthz, /readyz and what systemd hears of a `taskqueue run` on a real broker."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from sandbox.node import free_ports
from tests.support.stage import PATIENCE, Process, Stage, eventually


def with_page(stage: Stage) -> str:
    """Give the ini an address for the page, and that as the beginning of URLs."""
    (port,) = free_ports(1)
    stage.path.write_text(f"metrics = 127.0.0.1:{port}\n{stage.path.read_text()}")
    return f"http://127.0.0.1:{port}"


def look(url: str) -> tuple[int, Any]:
    """Read a page of health."""
    answer = urllib3.request("GET", url, timeout=PATIENCE, retries=False)
    return answer.status, json.loads(answer.data)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Give the address that systemd would listen on, and what waits for a line there."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(PATIENCE)
        said: list[str] = []

        def wait_for(line: str) -> None:
            # One datagram may hold several, and what has not changed is not said again.
            while line not in said:
                said.extend(sock.recv(4096).decode().splitlines())

        yield address, wait_for


@pytest.mark.parametrize("count", [1, 2])
def test_a_consumer_that_consumes_is_ready(stage: Stage, count: int) -> None:
    """With one process and with several."""
    page = with_page(stage)
    stage.run("--processes", str(count))
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready")
    assert look(f"{page}/readyz") == (200, {"ok": True, "reasons": [], "paused": []})
    assert look(f"{page}/healthz") == (200, {"ok": True, "reasons": []})


def test_a_queue_that_is_gone_is_named(stage: Stage) -> None:
    """It was deleted under a consumer, which waits for it: alive, and not ready."""
    page = with_page(stage)
    process = stage.run()
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready")
    with stage.connection() as connection:
        connection.channel().queue_delete(stage.name)
    process.wait_for("is not declared")
    eventually(lambda: look(f"{page}/readyz")[0] == 503, "not ready")
    found = {"ok": False, "reasons": [f"queue {stage.name} is not consumed"], "paused": []}
    assert look(f"{page}/readyz") == (503, found)
    assert look(f"{page}/healthz")[0] == 200
    stage.declare()
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready again")


@pytest.mark.parametrize("count", ["1", "2"])
def test_systemd_hears_of_a_consumer(
    stage: Stage, manager: tuple[str, Callable[[str], None]], count: str
) -> None:
    """It needs no page and no extra for that."""
    address, wait_for = manager
    process = Process(
        "run", "--config", str(stage.path), "--processes", count,
        environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"},
    )  # fmt: skip
    try:
        wait_for("READY=1")
        wait_for("STATUS=connected, every queue is consumed")
        wait_for("WATCHDOG=1")
    finally:
        process.stop()
    assert process.wait() == 0
