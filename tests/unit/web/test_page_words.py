"""Each word on the page is that of the commands: whoever has read one can read the other."""

from __future__ import annotations

import inspect

import pytest
from typer.main import get_command

from taskqueue.cli import dead, queues, ready, waiting
from taskqueue.cli import history as history_command
from taskqueue.history import wanted
from taskqueue.web import shown
from taskqueue.web.orders import ACTS
from taskqueue.web.rows import COLUMNS, title

COMMANDS = {"waiting": waiting, "ready": ready, "dead": dead}
NOT_OF_A_COMMAND = {("waiting", "forget"), ("ready", "forget")}
"""``cancel --forget`` there."""


@pytest.mark.parametrize("where", COLUMNS)
def test_lists_have_the_columns_of_the_command(where: str) -> None:
    """In its order."""
    assert COLUMNS[where] == tuple(COMMANDS[where]._COLUMNS)


@pytest.mark.parametrize("where", ACTS)
def test_acts_are_those_of_the_command(where: str) -> None:
    """All that change something, and no others."""
    group = get_command(COMMANDS[where].commands)
    known = set(getattr(group, "commands", ())) - {"list", "show"}
    assert {act for act in ACTS[where] if (where, act) not in NOT_OF_A_COMMAND} == known


def test_counts_have_the_titles_of_inspect() -> None:
    """But for how late it is, which inspect tells of one queue."""
    titles = {each.lower() for each in shown.COLUMNS.values()}
    assert titles - {"late"} == set(queues._COLUMNS) - {"queue", "state"}


def test_the_history_is_asked_for_by_the_options_of_the_command() -> None:
    """And has its columns."""
    assert set(history_command._WIDTHS) == set(wanted.COLUMNS)
    options = set(inspect.signature(history_command.history).parameters)
    assert {"since", "failed", "url", "limit", "queues"} <= options


def test_a_title_is_the_name() -> None:
    """With a capital, but where that is a unit."""
    assert [title(each) for each in ("id", "url", "ms")] == ["Id", "URL", "ms"]
