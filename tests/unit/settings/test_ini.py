"""The lines of the ini, and where the file is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.settings import ini


def read(text: str, **environ: str) -> dict[str, ini.Section]:
    """Read lines as if they stood in x.ini."""
    return ini.read(text, source="x.ini", environ=environ)


def test_values_keep_the_line_they_stand_on() -> None:
    """Comments and empty lines count, whatever the file's line ends are."""
    text = "# a\r\n\r\na = 1\r\n[q]\r\n; b\r\n  b  =  2 = 3  \r\n"
    sections = read(text)
    assert {name: section.line for name, section in sections.items()} == {"taskqueue": 0, "q": 4}
    assert (sections["taskqueue"].values["a"].text, sections["taskqueue"].values["a"].line) == ("1", 3)
    assert (sections["q"].values["b"].text, sections["q"].values["b"].line) == ("2 = 3", 6)


def test_only_a_line_feed_ends_a_line() -> None:
    """U+2028 is a character of a value, as it is in an editor, and moves no line number."""
    with pytest.raises(ConfigError, match=r"^x\.ini:2: "):
        read("a = x\u2028y\nnonsense")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    """Some editors write one."""
    assert read("\ufeffa = 1")["taskqueue"].values["a"].text == "1"


def test_a_comment_sign_within_a_value_is_part_of_it() -> None:
    """Comments are whole lines."""
    assert read("a = x # y ; z")["taskqueue"].values["a"].text == "x # y ; z"


@pytest.mark.parametrize(
    "text", ["a = x\x00y", "a = x\x0by", "a = x\ry", "a = x\x85y", "[q\x07]", "a = \ud800"]
)
def test_a_control_character_is_refused(text: str) -> None:
    """It can't be seen, and files and hosts with one can't be opened."""
    with pytest.raises(ConfigError, match=r"^x\.ini:1: holds a control character"):
        read(text)


def test_a_variable_may_end_with_a_line_end() -> None:
    """As secrets do that were read from a file; within, a line end is refused and not shown."""
    assert read("a = ${A}/v", A=" secret\n")["taskqueue"].values["a"].text == "secret/v"
    with pytest.raises(ConfigError, match=r"^x\.ini:1: a: environment variable A holds a control") as caught:
        read("a = ${A}", A="sec\nret")
    assert "sec\nret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("$$", "$"), ("$${A}", "${A}"), ("${A}$${A}", "${B}${A}"), ("$$$$", "$$")]
)
def test_a_doubled_dollar_sign_is_one(text: str, value: str) -> None:
    """And what a variable holds is not looked at again."""
    assert read(f"a = {text}", A="${B}")["taskqueue"].values["a"].text == value


@pytest.mark.parametrize("text", ["$", "$A", "${", "${}", "${A", "${A B}", "${1}", "${A}$"])
def test_a_dollar_sign_alone_is_refused(text: str) -> None:
    """Rather than guessed at; what stands behind it may be half of a password, so it is not shown."""
    with pytest.raises(ConfigError) as caught:
        read(f"a = {text}", A="b")
    assert str(caught.value) == "x.ini:1: a: a variable is written ${NAME}, a dollar sign $$"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40))
def test_every_value_can_be_written(value: str) -> None:
    """With dollar signs doubled it is read as it was meant, but for the space around it."""
    assert read(f"a = {value.replace('$', '$$')}")["taskqueue"].values["a"].text == value.strip()


@given(st.text(max_size=60), st.dictionaries(st.text("AB", min_size=1), st.text(max_size=5)))
def test_an_error_is_one_line_that_names_the_place(text: str, environ: dict[str, str]) -> None:
    """Whatever the file and the environment hold."""
    try:
        sections, told = read(text, **environ), None
    except ConfigError as error:
        sections, told = {}, str(error)
    assert sections if told is None else told.startswith("x.ini:")
    assert "\n" not in (told or "")


def test_the_first_place_that_has_a_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can't be there is gone past."""
    (tmp_path / "file").write_text("")
    (tmp_path / "b.ini").write_text("b = 1")
    (tmp_path / "c.ini").write_text("c = 1")
    places = (tmp_path / "none.ini", tmp_path / "file" / "a.ini", tmp_path / "b.ini", tmp_path / "c.ini")
    monkeypatch.setattr(ini, "PLACES", places)
    assert ini.find(None, {}) == (tmp_path / "b.ini", "b = 1")


def test_a_place_that_can_not_be_looked_at_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file taken in its stead would hide that the right one can't be read."""
    (tmp_path / "loop.ini").symlink_to(tmp_path / "loop.ini")
    (tmp_path / "b.ini").write_text("b = 1")
    monkeypatch.setattr(ini, "PLACES", (tmp_path / "loop.ini", tmp_path / "b.ini"))
    with pytest.raises(ConfigError, match=r"loop\.ini: can't be read: Too many levels of symbolic links"):
        ini.find(None, {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """One line says so."""
    with pytest.raises(ConfigError, match=r"can't be read: Is a directory"):
        ini.find(tmp_path, {})
