"""Log lines: one line each, whatever others wrote into them."""

from __future__ import annotations

import json
import logging

import pytest

from taskqueue import logs

pytestmark = pytest.mark.usefixtures("root_logger")

HOSTILE = "id\r\n2026-01-01 error forged \x1b[31m\u2028"


def test_a_text_line_is_one_line_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """An id with a line end in it must not pass for another line."""
    logs.start("text", "info")
    logging.getLogger("taskqueue").error("q %s: dead", HOSTILE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"error q id\r\n2026-01-01 error forged \x1b[31m\u2028: dead")


def test_a_json_line_holds_the_message_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON escapes what would end a line."""
    logs.start("json", "info")
    logging.getLogger("taskqueue").error("q %s: dead", HOSTILE)
    (line,) = capsys.readouterr().err.rstrip("\n").split("\n")
    assert json.loads(line)["message"] == f"q {HOSTILE}: dead"


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """It is ours, and is read by people."""
    logs.start("text", "info")
    try:
        1 / 0  # noqa: B018 it is to fail
    except ZeroDivisionError:
        logging.getLogger("taskqueue").exception("broke")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("error broke")
    assert lines[-1] == "ZeroDivisionError: division by zero"
