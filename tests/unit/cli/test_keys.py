"""The keys of the live screen, as a terminal sends them."""

from __future__ import annotations

import pytest

from taskqueue.cli.keys import split


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("jjk", ["j", "j", "k"]),
        ("\x1b[A\x1b[B", ["up", "down"]),
        ("\x1bOAj\x1b[6~", ["up", "j", "page down"]),
        ("\x1b", []),
        ("\x1b[15~q", ["q"]),
        ("\x1b[15~", []),
        ("ü ", ["ü", " "]),
    ],
)
def test_keys_are_told_apart(sent: str, keys: list[str]) -> None:
    """A key that nothing is known of is none, and no part of it ends the screen."""
    assert list(split(sent)) == keys
