"""Since when the history is listed."""

from __future__ import annotations

import pytest

from taskqueue.errors import ConfigError
from taskqueue.history.wanted import moment


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90m", 1_000_000 - 5400), ("-1h", 1_000_000 - 3600), ("1d2h", 1_000_000 - 93_600),
        ("1700000000", 17e8),
        ("1970-01-02", 86_400), ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:05Z", 5),
    ],
)  # fmt: skip
def test_a_time_is_read(text: str, at: float) -> None:
    """How long ago it was, ISO (UTC where it does not say), or POSIX."""
    assert moment(text, 1_000_000) == at


@pytest.mark.parametrize("text", ["", "1 week", "h", "yesterday", "1e99", "9999-99-99"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what is one."""
    with pytest.raises(ConfigError, match="--since: must be how long ago"):
        moment(text, 1_000_000)
