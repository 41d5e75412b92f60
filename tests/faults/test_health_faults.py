"""What the pages of health say when something is really broken."""

from __future__ import annotations

import os
import re
import signal

import pytest

from sandbox.broker import Broker
from tests.integration.consume.test_health_page import look, with_page
from tests.support.stage import Stage, eventually


def test_a_broker_that_is_down_is_no_reason_to_restart_a_consumer(
    private_broker: Broker, own_stage: Stage
) -> None:
    """It is alive and not ready; once the broker is back it is ready again."""
    page = with_page(own_stage)
    process = own_stage.run()
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready")
    private_broker.kill()
    process.wait_for("connection lost")
    eventually(lambda: look(f"{page}/readyz")[0] == 503, "not ready")
    assert look(f"{page}/readyz")[1]["reasons"] == ["not connected to the broker"]
    process.wait_for("can't connect to", times=2)
    assert look(f"{page}/healthz") == (200, {"ok": True, "reasons": []})
    private_broker.restart()
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready again")


@pytest.mark.slow
def test_a_process_that_hangs_is_told_by_its_parent(stage: Stage) -> None:
    """Nothing but its silence shows it; the others, and it when it goes on, are fine."""
    page = with_page(stage)
    process = stage.run("--processes", "2")
    process.wait_for(f"consuming from {stage.name}", times=2)
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready")
    pid = int(dict(re.findall(r"consumer (\d+) started, pid (\d+)", process.log))["2"])
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: look(f"{page}/healthz")[0] == 503, "not alive")
        (reason,) = look(f"{page}/healthz")[1]["reasons"]
        assert re.fullmatch(r"process 2: its I/O thread has not ticked for \d+ s", reason)
        assert look(f"{page}/readyz")[0] == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: look(f"{page}/healthz")[0] == 200, "alive again")
    eventually(lambda: look(f"{page}/readyz")[0] == 200, "ready again")
