"""The pages of the documentation name only commands, options and keys of the ini that there are."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from taskqueue.cli import COMMANDS, module
from taskqueue.settings.keys import GLOBAL_KEYS, QUEUE_KEYS
from taskqueue.settings.schedules import KEYS

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"(?:^|[$|&=] )(taskqueue [a-z].*)")
_END = re.compile(r"\s(?:\||&&|>|<|#|2>)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)(?!…|[a-z-])")
_SHELL = ("console", "sh", "")
_OF_OTHERS = re.compile(
    r"(docker|pip|curl|make|rabbitmq\w*|kubectl) |--(profile|build-arg|format) |--(times|in-tens)\b"
)


def name(page: Path) -> str:
    """Give the name of a page in the repository."""
    return str(page.relative_to(ROOT))


def split(call: str) -> list[str]:
    """Give the words of a call without the name of the command, as a shell splits them."""
    return shlex.split(_END.split(call)[0].replace("…", "x"))[1:]


def command(words: list[str]) -> tuple[Any, list[str]]:
    """Give the command, and what it is given."""
    assert words[0] in COMMANDS, words
    found: Any = get_command(module(words[0]).commands)
    if len(words) > 1 and words[1] in getattr(found, "commands", ()):
        return found.commands[words[1]], words[2:]
    return found, words[1:]


def options(found: Any) -> set[str]:
    """Give the options of a command."""
    return {"--help"}.union(*(each.opts + each.secondary_opts for each in found.params))


@cache
def options_of_all() -> set[str]:
    """Give the options of all commands, and of the one that has them."""
    found = {"--version", "--install-completion", "--show-completion"}
    for each in COMMANDS:
        group: Any = get_command(module(each).commands)
        found |= options(group).union(*map(options, getattr(group, "commands", {}).values()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_call_in_a_block_is_read(page: Path) -> None:
    """As the command line reads it, to the last option; nothing is run."""
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines() if kind in _SHELL else ():
            for call in _CALL.findall(line):
                found, given = command(split(call))
                assert not found.make_context("taskqueue", given).args, call


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_option_in_the_text_is_one(page: Path) -> None:
    """Of the command that stands before it, else of some command, but for those of others."""
    for span in re.findall(r"`([^`\n]+)`", _BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if _OF_OTHERS.match(span):
            continue
        named = set(_OPTION.findall(_END.split(span)[0]))
        # What stands for a choice is no call.
        if span.startswith("taskqueue ") and span[10].islower() and not re.search(r"\[|\\\|", span):
            assert named <= options(command(split(span))[0]), span
        assert named <= options_of_all(), span


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_key_of_an_ini_is_one(page: Path) -> None:
    """In the pieces of an ini; test_coming_from.py and test_operate_page.py read theirs as a whole."""
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "ini":
            named = re.findall(r"^#?([a-z_]+) *=", block, re.MULTILINE)
            assert named
            assert {*named} <= {*GLOBAL_KEYS, *QUEUE_KEYS, *KEYS}, named
