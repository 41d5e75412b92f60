"""The pages for those who come from something else: what they show can be read, and leads somewhere."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from taskqueue.cli.retries import times
from taskqueue.settings import QueueSettings, Settings, parse
from taskqueue.task.decode import decode
from taskqueue.task.message import Message

FOLDER = Path(__file__).parents[2] / "docs" / "coming-from"
EXAMPLES = FOLDER.parents[1] / "examples" / "README.md"
PAGES = [*sorted(FOLDER.glob("*.md")), EXAMPLES]
_DAY = 86_400


def blocks(kind: str) -> list[str]:
    """List the pieces of code of a kind."""
    return [
        each for page in PAGES for each in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)
    ]


def test_every_ini_can_be_used() -> None:
    """That of the Go taskqueue too, as it is."""
    found = [parse(each, source="page", environ={}) for each in blocks("ini")]
    assert [sorted(settings.queues) for settings in found] == [["default"], ["Queue1"], ["default"]]
    go = found[1].queues["Queue1"]
    assert (go.retry_limit, go.concurrency, found[1].servers) == (
        None,
        1,
        ("amqp://guest:guest@localhost:5672/",),
    )


def test_every_message_is_a_task() -> None:
    """With no field that nobody knows."""
    found = [decode(Message(each.encode(), {}, {"message_id": "x"}), now=0) for each in blocks("json")]
    assert [(task.url, task.due, task.unknown) for task in found] == [
        ("/welcome", 20_000, ()),
        ("/tasks/my_fun_task", 20_000, ()),
    ]
    assert found[1].content == b'{"a": 1}'


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_link_leads_to_a_page(page: Path) -> None:
    """And every page is in the index."""
    for link in re.findall(r"\]\((?!https?:)([^)#]*)", page.read_text()):
        assert not link or (page.parent / link).exists(), link
    index = (FOLDER / "README.md").read_text()
    assert page.name == "README.md" or f"({page.name})" in index


def test_the_waits_that_stand_for_those_of_sidekiq_are_as_long_as_told() -> None:
    """Nineteen days over 26 runs."""
    queue = QueueSettings("q", min_backoff_seconds=15.0, max_backoff_seconds=129_600.0, jitter=0.0)
    (last,) = islice(times(queue, Settings(), 0.0), 25, 26)
    assert 19 <= last.after / _DAY < 20
