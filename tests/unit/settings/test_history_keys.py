"""The keys of the history."""

from __future__ import annotations

import pytest

from taskqueue.errors import ConfigError
from taskqueue.settings import Settings, parse
from taskqueue.topology.plan import Retention


def read(text: str) -> Settings:
    """Parse a configuration."""
    return parse(text, source="test.ini", environ={})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", None),
        ("history =", None),
        ("history = 7d", Retention(604_800, 2_000_000_000)),
        ("history = 90m\nhistory_bytes = 500M", Retention(5_400, 500_000_000)),
        ("history = 12h\nhistory_bytes = 1 TB", Retention(43_200, 10**12)),
    ],
)
def test_what_is_kept_is_read(text: str, kept: Retention | None) -> None:
    """Off by default."""
    assert read(f"{text}\n[mail]").layout.history == kept


@pytest.mark.parametrize(
    "line", ["history = 7", "history = 0d", "history = off", "history = 99999d", "history_bytes = 1",
             "history_bytes = 1M", "history_bytes ="],
)  # fmt: skip
def test_what_can_t_be_kept_is_refused(line: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=r"test.ini:1: history(_bytes)?: must be like"):
        read(f"{line}\n[mail]")


@pytest.mark.parametrize("name", ["taskqueue.history", "taskqueue.history.index"])
def test_its_names_are_no_queues(name: str) -> None:
    """They would be taken for each other."""
    with pytest.raises(ConfigError, match="belongs to the history"):
        read(f"[{name}]")
    read("[taskqueue.histories]")
