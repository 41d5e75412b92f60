"""docs/operate.md: ten situations, whose commands and keys there are, and to which every alert leads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from taskqueue.cli import COMMANDS, module
from taskqueue.settings import parse
from tests.support.situations import PAGE, Situation, anchor, situations

ROOT = Path(__file__).parents[3]
SITUATIONS = situations()
COMMANDS_OF_ALL = sorted({command for each in SITUATIONS for block in each.blocks for command in block})


def test_there_are_ten_and_each_says_all_of_it() -> None:
    """What you see, what it means, what mends it, and what proves that nothing is lost."""
    assert [each.number for each in SITUATIONS] == list(range(1, 11))
    for each in SITUATIONS:
        assert len(each.blocks) >= 2, each.anchor
        for part in ("**You see**", "**It means**", "**Mend**", "**Nothing is lost"):
            assert each.text.count(part) == 1, (each.anchor, part)


@pytest.mark.parametrize("command", COMMANDS_OF_ALL, ids=" ".join)
def test_every_command_is_one_with_these_options(command: tuple[str, ...]) -> None:
    """Read as the command line reads it, to the last option; nothing is run."""
    assert command[0] in COMMANDS
    found: Any = get_command(module(command[0]).commands)
    rest = list(command[1:])
    if rest and rest[0] in getattr(found, "commands", ()):
        found = found.commands[rest.pop(0)]
    context = found.make_context(command[0], rest)
    assert not context.args, "all of it is read"


@pytest.mark.parametrize("each", SITUATIONS, ids=lambda each: each.anchor)
def test_every_piece_of_an_ini_is_one(each: Situation) -> None:
    """With a server and the queue of the page beside it."""
    for piece in each.inis:
        head, _, sections = piece.partition("[")
        server = "" if "server" in head else "server = amqp://localhost\n"
        mail = "" if "[mail]" in piece else "[mail]\n"
        text = f"{server}{head}\n{mail}" + (f"[{sections}" if sections else "")
        settings = parse(text, source="operate.md", environ={"PASSWORD": "p"})
        assert "mail" in settings.queues


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    """The table at its head has one for each situation."""
    text = PAGE.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(linked) == {each.anchor for each in SITUATIONS}


def test_every_alert_leads_to_a_situation_that_names_it_or_its_signs() -> None:
    """One for each rule, and each to a heading that there is."""
    text = (ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8")
    rules = text.split("- alert: ")[1:]
    found = [re.findall(r"situation: docs/operate\.md#(\S+)$", rule, re.MULTILINE) for rule in rules]
    assert len(found) >= 10
    assert all(len(each) == 1 for each in found), found
    assert {each for (each,) in found} <= {each.anchor for each in SITUATIONS}


def test_every_alert_that_the_page_names_leads_there() -> None:
    """From the alert to the situation, and from the situation back."""
    text = (ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8")
    leads = dict(
        re.findall(r"alert: (\w+)$.*?situation: docs/operate\.md#(\S+)$", text, re.MULTILINE | re.DOTALL)
    )
    named = {
        name: each.anchor for each in SITUATIONS for name in re.findall(r"\bTaskqueue[A-Z]\w+", each.text)
    }
    assert named == leads


def test_an_anchor_is_that_of_github() -> None:
    """Lower case, without marks, blanks as hyphens."""
    assert anchor("4. A bad deploy sent 100,000 wrong tasks") == "4-a-bad-deploy-sent-100000-wrong-tasks"
