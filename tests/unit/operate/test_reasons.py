"""Why nothing runs, in words: what counts prove, and nothing where all is well."""

from __future__ import annotations

from typing import Any

import pytest

from taskqueue.operate.due import Due, Span
from taskqueue.operate.pause import Pause
from taskqueue.operate.reasons import reasons
from taskqueue.settings.values import Rate
from tests.support.views import rates, view

PAUSE = Pause("ann", None, 0.0, None)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ready": 3, "consumers": 0}, "no consumer is there"),
        ({"ready": 3, "pause": PAUSE, "consumers": 0}, "it is paused"),
        ({"alarms": ("disk alarm on rabbit@one",), "ready": 1}, "disk alarm on rabbit@one: the broker takes"),
        ({"absent": True, "ladder_absent": True, "ladder_due": None, "ready": None}, "nothing of it"),
        ({"missing": ("exchange mail.wait",)}, "exchange mail.wait missing"),
        ({"unknown": ("mail",), "ready": None}, "the leader of mail is silent"),
        ({"ladder_unknown": ("mail.wait.1s",)}, "the leader of mail.wait.1s is silent"),
        ({"ladder_looked": ("mail.wait.1s",)}, "somebody looks through mail.wait.1s"),
        ({"ladder_lateness": 35.0}, "ladder mail is 35 s late, as the probe saw it"),
        ({"ladder_held": 7}, "held by the broker, though the wait is over: 7"),
        ({"unacked": 3, "flow": rates(3)}, "3 are at consumers for over 30 s and none is settled"),
        ({"ready": 3, "flow": rates(ready=3)}, "took none of the 3 that are ready"),
        ({"ready": 600, "set_rate": Rate(10, 60)}, "600 that are ready: the last of them begins in 1 h at"),
        ({}, "nothing is ready, and nothing waits"),
        ({"ladder_due": Due((Span(60.0, 4),))}, "4 wait; the next is due in 1 min at the latest"),
        ({"ladder_due": Due((Span(float("inf"), 4),))}, "at a time that counts do not tell"),
        ({"on": "all", "ladder_due": Due((Span(9.0, 4),))}, "4 wait on ladder all, which others share"),
    ],
)  # fmt: skip
def test_why_nothing_runs_is_told(changes: dict[str, Any], word: str) -> None:
    """First what keeps it from working at all."""
    assert word in next(reasons(view(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"ready": 3, "unacked": 4, "flow": rates(4, ready=3, settled=1.0, handed_out=1.0)},
        # Handed out within the time that rates are of: a request may take as long.
        {"unacked": 4, "flow": rates(4, handed_out=4 / 30)},
        # Nobody knows without the management API.
        {"ready": 3, "unacked": None},
        # No token may have been due meanwhile.
        {"ready": 3, "flow": rates(ready=3), "set_rate": Rate(3, 60)},
        # Nothing was there to take while the rates were counted.
        {"ready": 3, "flow": rates()},
    ],
)
def test_what_may_be_well_is_not_called_amiss(changes: dict[str, Any]) -> None:
    """Nothing is said that may be false."""
    assert list(reasons(view(**changes))) == []
