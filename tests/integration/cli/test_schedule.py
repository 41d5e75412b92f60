"""`taskqueue schedule`, and what declare and check say of schedules."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from sandbox.receiver import Receiver
from tests.support.command import ran, read, run
from tests.support.stage import PATIENCE, Stage
from tests.support.timetable import HOURLY, NAME, book, configure


@pytest.fixture
def timed(stage: Stage) -> Stage:
    """Give a queue whose ini has a schedule, declared by the command."""
    configure(stage)
    ran(stage.path, "declare")
    return stage


def test_a_schedule_is_listed_with_its_next_three_times(timed: Stage) -> None:
    """From the broker, in UTC; and nothing of its payload or URL."""
    now = datetime.now(UTC)
    (row,) = read(timed.path, "schedule", "list")
    times = [datetime.fromisoformat(each) for each in row["next"]]
    assert [each.minute for each in times] == [0, 0, 0]
    assert 0 <= (times[0] - now).total_seconds() <= 3600 + PATIENCE
    assert (row["name"], row["queue"], row["state"], row["last"]) == (NAME, timed.name, "running", None)
    assert "url" not in row
    # Meanwhile the first of them may have come.
    assert row["next"][1] in ran(timed.path, "schedule", "list")


def test_a_schedule_is_paused_and_resumed(timed: Stage) -> None:
    """The broker keeps it, and a declare does not change it."""
    assert ran(timed.path, "schedule", "pause", NAME) == f"{NAME}: paused\n"
    assert book(timed).wake is None
    ran(timed.path, "declare")
    assert read(timed.path, "schedule", "list")[0]["state"] == "paused"
    ran(timed.path, "schedule", "resume", NAME)
    ran(timed.path, "schedule", "resume", NAME)
    assert read(timed.path, "schedule", "list")[0]["state"] == "running"
    assert book(timed).wake is not None


def test_a_schedule_is_run_now_beside_its_occurrences(timed: Stage, receiver: Receiver) -> None:
    """Under an id that none of them has; what is next stays next."""
    # None of them meanwhile, as there may be one in an hour.
    configure(timed, {NAME: {**HOURLY, "cron": "0 0 1 1 *"}})
    ran(timed.path, "declare")
    before = book(timed).wake
    sent = ran(timed.path, "schedule", "run", NAME).strip()
    timed.consume()
    (request,) = receiver.wait_for(1, timeout=PATIENCE)
    assert request.headers["Taskqueue-Id"] == sent
    name, _, at = sent.partition("@")
    assert name == NAME
    assert at.endswith("Z")
    assert "." in at
    assert abs(datetime.fromisoformat(at).timestamp() - time.time()) < PATIENCE
    assert book(timed).wake == before


def test_an_unknown_schedule_is_told_with_those_that_there_are(timed: Stage) -> None:
    """Bad usage."""
    for command in ("run", "pause", "resume"):
        done = run(timed.path, "schedule", command, "nightly")
        assert done.returncode == 2
        assert done.stderr.decode().splitlines() == [
            f"taskqueue: schedule 'nightly' is not in the configuration: it has {NAME}"
        ]


def test_what_the_broker_has_not_is_told_by_every_command(timed: Stage) -> None:
    """A section that was added, one that was changed, and one that was removed, before the next declare."""
    configure(timed, {NAME: {**HOURLY, "url": "/changed"}, "more": HOURLY})
    states = {row["name"]: row["state"] for row in read(timed.path, "schedule", "list", code=1)}
    assert states == {NAME: "other than in the ini", "more": "not declared"}
    done = run(timed.path, "schedule", "run", "more")
    assert done.returncode == 1
    assert b"taskqueue declare" in done.stderr
    checked = run(timed.path, "check", "--json")
    (failed,) = [each for each in json.loads(checked.stdout)["checks"] if not each["ok"]]
    assert failed["check"] == "schedules"
    assert "more is not declared" in failed["detail"]
    dry = ran(timed.path, "declare", "--dry-run").splitlines()
    assert any(line.startswith(f"schedule {NAME} in {timed.name}: to be changed") for line in dry)
    assert any(line.startswith(f"schedule more in {timed.name}: to be added") for line in dry)
    assert set(book(timed).entries) == {NAME}
    told = ran(timed.path, "declare").splitlines()
    assert any(line.startswith(f"schedule more in {timed.name}: added, next ") for line in told)
    assert ran(timed.path, "check")
    configure(timed, {})
    assert f"schedule more in {timed.name}: removed" in ran(timed.path, "declare").splitlines()
    assert ran(timed.path, "check")


@pytest.mark.parametrize("command", ["declare", "check"])
@pytest.mark.parametrize(("key", "value"), [("cron", "@reboot"), ("metadata", '{"method": "BREW"}')])
def test_a_bad_value_is_told_with_its_section_and_key(
    stage: Stage, command: str, key: str, value: str
) -> None:
    """Before anything is changed, and by check as well."""
    configure(stage, {"nightly": HOURLY})
    text = stage.path.read_text().replace("cron = 0 * * * *", f"cron = 0 * * * *\n{key} = {value}")
    stage.path.write_text(text if key != "cron" else text.replace("cron = 0 * * * *\n", ""))
    done = run(stage.path, command)
    told = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 2, told
    assert "[schedule:nightly]" in told
    assert key in told
    assert run(stage.path, "schedule", "list").returncode == (1 if key == "metadata" else 2)
