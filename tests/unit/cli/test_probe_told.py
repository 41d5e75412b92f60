"""What `taskqueue probe` makes of a probe: in time, late, not there, or with a clock that is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskqueue.cli import main
from taskqueue.cli.probe import _row
from taskqueue.operate.probe import Probed, walk
from taskqueue.topology.ladder import Ladder

WAY = walk("mail", Ladder(), 1.1)


@pytest.fixture
def pika_log() -> Iterator[None]:
    """Leave the log of pika to the tests that come after, as a command silences it."""
    level = logging.getLogger("pika").level
    yield
    logging.getLogger("pika").setLevel(level)


@pytest.mark.parametrize(
    ("probed", "good"),
    [
        (Probed(WAY, 0.2, 0.0), True),
        (Probed(WAY, 2.0, 0.0), True),
        (Probed(WAY, 0.2, None), True),
        (Probed(WAY, 2.0004, 0.0), False),
        (Probed(WAY, 0.2, 1.6, "the clock"), False),
        (Probed(WAY, 0.2, -40.0, "the clock"), False),
        (Probed(WAY, why="not there"), False),
    ],
)
def test_a_probe_is_good_in_time_and_where_clocks_agree(probed: Probed, good: object) -> None:
    """What is written is rounded; what is judged is not."""
    row = _row(probed, ["mail", "bulk"], 2.0)
    assert row["good"] is good
    assert (row["ladder"], row["queues"], row["rungs"]) == ("mail", ["mail", "bulk"], ["1s", "0.1s"])
    assert (row["lateness"] is None) == (probed.lateness is None)
    assert row["why"] == probed.why


@pytest.mark.usefixtures("pika_log")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["probe"], 3, "127.0.0.1:1"),
        (["probe", "--json"], 3, "127.0.0.1:1"),
        (["probe", "sms"], 2, "queue 'sms' is not in the configuration"),
        (["probe", "--countdown", "61"], 2, "--countdown"),
    ],
)
def test_without_a_broker_and_with_bad_usage_it_says_why(
    arguments: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit codes are those of every command, and nothing is on standard output."""
    path = tmp_path / "taskqueue.ini"
    path.write_text("server = amqp://127.0.0.1:1\n[mail]\n")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--config", str(path)])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (code, "")
    assert told in said.err
