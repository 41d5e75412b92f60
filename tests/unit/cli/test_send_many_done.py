"""The file of what is done: only whole ids count, and a half one is taken out before another is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskqueue.cli.send_many import _Done, _kept
from taskqueue.errors import InvalidTask


@pytest.mark.parametrize(
    ("text", "known", "left"),
    [
        ("", set(), ""),
        ("a\nb\n", {"a", "b"}, "a\nb\n"),
        ("a\nü-1", {"a"}, "a\n"),
        ("ü\nhalf", {"ü"}, "ü\n"),
        ("half", set(), ""),
        ("\nhalf", set(), "\n"),
    ],
)
def test_half_an_id_is_none(tmp_path: Path, text: str, known: set[str], left: str) -> None:
    """Whoever was killed while it was written sends that task again, and no other is left out for it."""
    path = tmp_path / "done"
    path.write_text(text, encoding="utf-8")
    with _kept(path) as file:
        done = _Done(file)
        assert {name for name in ("a", "b", "ü", "ü-1", "half") if done.has(name)} == known
        done.confirmed("new")
    assert path.read_text(encoding="utf-8") == f"{left}new\n"


@pytest.mark.parametrize("task_id", [None, "", 7, "two\nlines", "two\rlines"])
def test_an_id_that_the_file_can_not_hold_is_refused(tmp_path: Path, task_id: object) -> None:
    """Before its task is sent."""
    with _kept(tmp_path / "done") as file, pytest.raises(InvalidTask, match="id"):
        _Done(file).has(task_id)
    assert not _Done(None).has(task_id)
