"""`taskqueue probe` on a real broker: it comes, or it says why not; and no work queue ever gets it."""

from __future__ import annotations

import signal

import pytest

from tests.support.command import ran, read
from tests.support.stage import Process, Stage, eventually

GENEROUS = ("--max-late", "60")


@pytest.mark.parametrize(("countdown", "rungs"), [("1.1", ["1s", "0.1s"]), ("0.3", ["0.3s"])])
def test_a_probe_walks_its_rungs_and_leaves_nothing(stage: Stage, countdown: str, rungs: list[str]) -> None:
    """No consumer is there; the clocks of one machine agree."""
    (found,) = read(stage.path, "probe", stage.name, "--countdown", countdown, *GENEROUS)
    assert 0 <= found.pop("lateness") < 60
    assert found == {
        "ladder": stage.name, "queues": [stage.name], "rungs": rungs, "countdown": float(countdown),
        "clock": 0, "good": True, "why": None,
    }  # fmt: skip
    assert (stage.depth(), stage.waiting(), stage.depth(f"{stage.name}.dead")) == (0, 0, 0)


def test_one_that_is_late_ends_with_1(stage: Stage) -> None:
    """Every message comes later than at once."""
    at_once = ("--max-late", "0", "--timeout", "60")
    (found,) = read(stage.path, "probe", *at_once, code=1)
    assert (found["good"], found["why"]) == (False, None)
    assert "in time" not in ran(stage.path, "probe", *at_once, code=1)


def test_one_that_does_not_come_is_told_and_does_not_stray(stage: Stage) -> None:
    """A way is missing from one rung to the next, as by a slip of the hand."""
    with stage.connection() as connection:
        connection.channel().queue_unbind(
            f"{stage.name}.wait.0.1s", f"{stage.name}.wait.1s", routing_key="1s>0.1s"
        )
    (found,) = read(stage.path, "probe", "--timeout", "2", code=1)
    assert (found["lateness"], found["good"]) == (None, False)
    # A machine that is busy enough needs longer than that for the first rung.
    assert "not there" in found["why"] or "did not take it" in found["why"]
    eventually(lambda: stage.waiting() == 0, "it has left the rung, and is dropped")
    assert stage.depth() == 0


def test_a_rung_that_is_missing_is_told_before_anything_is_sent(stage: Stage) -> None:
    """It would be led to the work queue, as a task is."""
    with stage.connection() as connection:
        connection.channel().queue_delete(f"{stage.name}.wait.0.1s")
    (found,) = read(stage.path, "probe", code=1)
    assert "run `taskqueue declare`" in found["why"]
    assert stage.depth() == 0


def test_a_probe_that_is_killed_comes_to_no_work_queue(stage: Stage) -> None:
    """What it left walks to its end, and is dropped there; a look meanwhile takes it for no task."""
    probe = Process("probe", "--countdown", "20.1", "--config", str(stage.path))
    try:
        eventually(lambda: stage.waiting() == 1, "it is on its rung")
        probe.signal(signal.SIGKILL)
        probe.wait()
    finally:
        probe.kill()
    assert read(stage.path, "waiting", "list", stage.name) == []
    eventually(lambda: stage.waiting() == 0, "it has left the ladder")
    assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0)


def test_one_at_a_time_walks_a_ladder(stage: Stage) -> None:
    """The other one waits until it has the ladder to itself, and is in time too."""
    both = [Process("probe", *GENEROUS, "--config", str(stage.path)) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0], [each.log for each in both]
