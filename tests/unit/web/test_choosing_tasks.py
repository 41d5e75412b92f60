"""The conditions of a form name the same tasks as the options of a command."""

from __future__ import annotations

import pytest

from taskqueue.errors import ConfigError
from taskqueue.operate.filters import Filter, read
from taskqueue.web import choosing


def test_a_form_is_read_as_options_are() -> None:
    """What is empty is no condition."""
    fields = {
        "ids": "a\n\n b \r\nc", "url": "/x/*", "after": "+1h", "before": "", "reason": " failed ",
        "status": "5xx", "runs": "2+", "look": "yes", "limit": "7",
    }  # fmt: skip
    assert choosing.chosen(fields, now=10.0) == read(
        now=10.0, ids=["a", "b", "c"], url="/x/*", after="+1h", reason="failed", status="5xx", runs="2+"
    )
    assert choosing.chosen({"ids": " \n", "url": " "}, now=0) is None
    assert choosing.chosen({"id": " a\nb", "ids": ""}, now=0) == read(now=0, ids=[" a\nb"])
    assert choosing.limit(fields) == 7
    assert choosing.limit({}) == choosing.LIMIT


def test_nothing_is_done_with_all_tasks_by_an_empty_form() -> None:
    """Somebody has to say that it is all of them, and nothing beside that."""
    with pytest.raises(ConfigError, match="which tasks"):
        choosing.required({"url": " "}, now=0)
    assert choosing.required({"every": "yes"}, now=0) == Filter()
    with pytest.raises(ConfigError, match="either"):
        choosing.required({"every": "yes", "url": "/x"}, now=0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"after": "soon"}, "^'soon' is no time"),
        ({"status": "abc"}, "^status "),
        ({"runs": "x"}, "^runs must be a number"),
    ],
)
def test_what_can_not_be_read_is_told_by_its_field(fields: dict[str, str], why: str) -> None:
    """As a form has it: without the dashes of an option."""
    with pytest.raises(ConfigError, match=why):
        choosing.chosen(fields, now=0)


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "9" * 400, "\uff11"])
def test_a_list_has_an_end(limit: str) -> None:
    """A thousand tasks at most."""
    with pytest.raises(ConfigError, match="from 1 to 1000"):
        choosing.limit({"limit": limit})
