"""docs/operate.md as the tests read it: its situations, their commands and their pieces of an ini."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
_HEADING = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Situation:
    """One of the ten: its number, the anchor of its heading, its text, and what stands in it to be run."""

    number: int
    anchor: str
    text: str
    blocks: tuple[tuple[tuple[str, ...], ...], ...]
    """The commands of each block, without `taskqueue` before them."""
    inis: tuple[str, ...]


def situations() -> tuple[Situation, ...]:
    """Read all of them, in their order."""
    _, *parts = _HEADING.split(PAGE.read_text(encoding="utf-8"))
    return tuple(_read(*parts[place : place + 3]) for place in range(0, len(parts), 3))


def anchor(heading: str) -> str:
    """Give the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _read(number: str, title: str, text: str) -> Situation:
    found = _BLOCK.findall(text)
    return Situation(
        int(number),
        anchor(f"{number}. {title}"),
        text,
        tuple(_commands(block) for kind, block in found if kind == "console"),
        tuple(block for kind, block in found if kind == "ini"),
    )


def _commands(block: str) -> tuple[tuple[str, ...], ...]:
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[:2] == ["$", "taskqueue"] for line in lines), f"no command of ours: {block}"
    return tuple(tuple(line[2:]) for line in lines)
