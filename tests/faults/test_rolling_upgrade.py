"""The version before beside the present one: consumers, senders and commands, with tasks in every state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver, Request
from taskqueue.send.client import Client
from tests.support.command import ran, read
from tests.support.stage import Process, eventually

ROOT = Path(__file__).parents[2]
COUNT, LONGEST = 200, 40.0
"""Tasks of each sender, and seconds over which they are due."""
_SEND = """
import sys, time
from taskqueue import Client
ini, name, count, apart = sys.argv[1:]
with Client.from_config(ini) as client:
    client.send_many(
        {"url": "/x", "queue": "mail", "id": f"{name}-{n}", "eta": time.time() + n * float(apart)}
        for n in range(int(count))
    )
"""


def git(*words: str) -> bytes:
    """Ask the repository."""
    program = shutil.which("git")
    assert program, "needs git"
    return subprocess.run([program, *words], cwd=ROOT, check=True, capture_output=True).stdout


@pytest.fixture
def former(tmp_path: Path) -> dict[str, str]:
    """Give the environment in which Python finds the version before: the last tag, or what is asked for."""
    found = (
        os.environ.get("TASKQUEUE_FORMER") or git("tag", "--sort=-creatordate").decode().partition("\n")[0]
    )
    with tarfile.open(fileobj=BytesIO(git("archive", found or "HEAD~20", "taskqueue"))) as packed:
        packed.extractall(tmp_path / "former", filter="data")
    # Not the present one in the working directory.
    return {"PYTHONPATH": str(tmp_path / "former"), "PYTHONSAFEPATH": "1"}


@pytest.fixture
def config(private_broker: Broker, receiver: Receiver, tmp_path: Path) -> Path:
    """Write an ini with all that keeps something in the broker."""
    path = tmp_path / "taskqueue.ini"
    queue = f"base_url = {receiver.url}\nmin_backoff_seconds = 1\njitter = 0\n"
    path.write_text(
        f"server = {private_broker.url}\nlevels = 4\nhistory = 1d\nhistory_bytes = 100M\n"
        f"[mail]\n{queue}max_concurrency = 6\nrate = 200/s\n[later]\n{queue}"
        "[schedule:tick]\nqueue = later\nurl = /tick\ncron = * * * * *\n"
    )
    return path


class Trial:
    """One ini, and both versions at work on it."""

    def __init__(self, config: Path, former: dict[str, str]) -> None:
        self.config = config
        self.former = former
        self.running: list[Process] = []

    def command(self, *words: str) -> None:
        """Run a command of the version before."""
        command = Process(*words, "--config", str(self.config), environment=self.former)
        assert command.wait() == 0, command.log

    def consume(self, environment: dict[str, str] | None = None, *, instead_of: int | None = None) -> None:
        """Start a consumer, in place of another one that stops."""
        if instead_of is not None:
            self.running.pop(instead_of).stop()
        process = Process("run", "--config", str(self.config), environment=environment)
        self.running.append(process)
        process.wait_for("consuming from mail")

    def send(self, prefix: str, environment: dict[str, str] | None = None) -> None:
        """Send tasks that come due over a while."""
        words = [sys.executable, "-c", _SEND, str(self.config), prefix, str(COUNT), str(LONGEST / COUNT)]
        subprocess.run(words, check=True, env={**os.environ, **(environment or {})})

    def stop(self) -> None:
        """Stop every consumer."""
        for process in self.running:
            process.stop()
            assert "Traceback" not in process.log


def status(request: Request) -> int:
    """Have each fifth task fail once."""
    number = int(request.headers["Taskqueue-Id"].rpartition("-")[2])
    return 500 if number % 5 == 0 and request.headers["Taskqueue-Attempt"] == "1" else 200


WANTED = {f"{prefix}-{n}" for prefix in ("former", "present", "again") for n in range(COUNT)}


def ran_to_their_end(receiver: Receiver) -> bool:
    """Tell whether each task had its last attempt."""
    return {each.headers["Taskqueue-Id"] for each in receiver.to("/x") if status(each) == 200} >= WANTED


@pytest.mark.soak
def test_each_task_runs_whichever_version_sends_runs_or_acts(
    config: Path, receiver: Receiver, former: dict[str, str]
) -> None:
    """Former consumers are replaced one by one, and back; senders of both go on; nothing is lost or early."""
    trial = Trial(config, former)
    receiver.answer("/x", status)
    receiver.answer("/fails", 500)
    trial.command("declare")
    trial.consume(former)
    trial.consume(former)
    try:
        trial.command("pause", "later", "--reason", "an upgrade")
        trial.send("former", former)
        with Client.from_config(config) as client:
            client.send("/fails", "mail", id="dead", max_retries=2, roll_back="/sorry")
            client.send("/later", "later", id="paused")
        receiver.wait_for(1, path="/sorry")
        # Forth: each of them is replaced while tasks of both wait, run, fail and come.
        ran(config, "declare")
        trial.consume(instead_of=0)
        trial.send("present")
        assert read(config, "inspect", "later")["queues"][0]["paused"]["reason"] == "an upgrade"
        trial.consume(instead_of=0)
        ran(config, "resume", "later")
        receiver.wait_for(1, path="/later")
        receiver.answer("/fails", 200)
        ran(config, "dead", "replay", "mail", "--all", "--yes")
        receiver.wait_for(3, path="/fails")
        # And back.
        trial.consume(former, instead_of=0)
        trial.send("again", former)
        eventually(lambda: ran_to_their_end(receiver), "each task has run to its end")
        receiver.wait_for(len(receiver.to("/tick")) + 1, path="/tick")
    finally:
        trial.stop()
    assert [each for each in receiver.requests if each.at < float(each.headers["Taskqueue-Due"])] == []
    assert {each.headers["Taskqueue-Id"] for each in receiver.to("/x")} == WANTED
    mail, _ = read(config, "inspect")["queues"]
    assert (mail["ready"], mail["waiting"], mail["dead"]) == (0, 0, 0)
