"""`taskqueue inspect --watch` on a terminal: sizes, keys, signals, and the terminal as it was afterwards."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sandbox.broker import Server
from tests.support.stage import Stage
from tests.support.terminal import ENTER, LEAVE, Terminal

COUNT = 40
"""Queues of the long ini: more than a terminal of 24 lines shows."""


@pytest.fixture
def long(stage: Stage) -> Stage:
    """Give an ini with many queues that nobody has declared, beside one that has tasks."""
    stage.send("/later", countdown=80)
    stage.configure(others={f"absent-{number:02}": {"ladder": "none"} for number in range(COUNT)})
    return stage


def watching(stage: Stage, *arguments: str, columns: int = 80, rows: int = 24) -> Terminal:
    """Watch on a terminal of this size."""
    words = ["inspect", "--watch", "--interval", "0.5", *arguments, "--config", str(stage.path)]
    return Terminal(*words, columns=columns, rows=rows)


def fits(shown: list[str], columns: int, rows: int) -> bool:
    """Tell whether a picture has as many lines as the terminal, none longer than it."""
    return len(shown) == rows and max(map(len, shown)) <= columns and shown[-1].startswith("q quit")


def left_as_it_was(terminal: Terminal, times: int = 1) -> bool:
    """Tell whether the former screen is shown again, the cursor too, and typing works as before."""

    def shown() -> bool:
        text = terminal.text
        cursor = text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
        return cursor and text.count(ENTER) == text.count(LEAVE) == times

    # What it has written last may still be on its way.
    terminal.until(lambda _: shown(), "the former screen")
    return terminal.modes() == terminal.before


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_a_picture_fits_the_terminal_and_follows_its_size(stage: Stage, columns: int, rows: int) -> None:
    """Whatever it is, as long as the terminal is there."""
    stage.send("/later", countdown=80)
    with watching(stage, columns=columns, rows=rows) as terminal:
        shown = terminal.until(lambda lines: any(stage.name in line for line in lines), "the queue")
        assert fits(shown, columns, rows), shown
        assert {"ready", "waiting", "dead", "consumers"} <= set(shown[1].split())
        terminal.resize(columns - 20, rows - 5)
        shown = terminal.until(lambda lines: len(lines) == rows - 5, "another size")
        assert fits(shown, columns - 20, rows - 5), shown
        terminal.type("q")
        assert terminal.wait() == 0
        assert left_as_it_was(terminal)


def test_one_queue_is_shown_in_words_and_bars(stage: Stage) -> None:
    """As without --watch."""
    stage.send("/later", countdown=80)
    with watching(stage, stage.name) as terminal:
        shown = terminal.until(lambda lines: any("█" in line for line in lines), "bars")
        assert fits(shown, 80, 24), shown
        assert any("no consumer is there" in line for line in shown)
        assert any(line.startswith("in 10 min") and " 1  █" in line for line in shown)
        terminal.type("\x1b[15~q")
        assert terminal.wait() == 0


def test_keys_scroll_sort_and_show_all(long: Stage) -> None:
    """Down to the last line and no further, and the heads of the columns stay."""
    with watching(long) as terminal:
        shown = terminal.until(lambda lines: any(long.name in line for line in lines), "the queue")
        assert fits(shown, 80, 24), shown
        assert "absent-39" not in "\n".join(shown)
        terminal.type("G")
        shown = terminal.until(lambda lines: any("absent-39" in line for line in lines), "the end")
        assert fits(shown, 80, 24), shown
        assert shown[1].startswith("queue")
        assert any(line.startswith(f"all {COUNT + 1}") for line in shown)
        terminal.type("g")
        terminal.until(lambda lines: any(long.name in line for line in lines), "the first line")
        terminal.type("j\x1b[B")
        terminal.until(lambda lines: "from line 3" in lines[-1], "two lines further")
        terminal.type("k\x1b[A")
        terminal.until(lambda lines: "more below" in lines[-1] and "from line 1," in lines[-1], "back")
        terminal.type("sa")
        terminal.until(lambda lines: "sorted by ready   a all" in lines[-1], "sorted, and all")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 0
        assert left_as_it_was(terminal)


@pytest.mark.parametrize("typed", ["\x03", "", "q"])
def test_the_terminal_is_left_as_it_was(stage: Stage, typed: str) -> None:
    """By Ctrl-C, by SIGHUP, and by q while the broker is away."""
    if typed == "q":
        stage.path.write_text("server = amqp://guest:guest@127.0.0.1:9/\n[mail]\n")
    with watching(stage) as terminal:
        word = "trying again" if typed == "q" else stage.name
        shown = terminal.until(lambda lines: any(word in line for line in lines), word)
        assert fits(shown, 80, 24), shown
        if typed:
            terminal.type(typed)
        else:
            terminal.signal(signal.SIGHUP)
        assert terminal.wait() == 0
        assert left_as_it_was(terminal)


def test_a_stop_from_the_keyboard_gives_the_terminal_back_and_takes_it_again(stage: Stage) -> None:
    """As an editor does at Ctrl-Z and `fg`."""
    with watching(stage) as terminal:
        terminal.until(lambda lines: any(stage.name in line for line in lines), "the queue")
        terminal.signal(signal.SIGTSTP)
        terminal.stopped()
        assert left_as_it_was(terminal)
        terminal.signal(signal.SIGCONT)
        terminal.until(lambda _: terminal.text.count(ENTER) == 2, "the screen again")
        terminal.type("q")
        assert terminal.wait() == 0
        assert left_as_it_was(terminal, times=2)


def test_what_can_not_be_watched_is_an_error(broker: Server, tmp_path: Path) -> None:
    """A refused login is tried again, bad usage is not."""
    config = tmp_path / "taskqueue.ini"
    config.write_text(f"server = {broker.url}\n[mail]\n")
    with Terminal("inspect", "--watch", "--json", "--config", str(config), columns=80, rows=24) as terminal:
        assert terminal.wait() == 2
        assert ENTER not in terminal.text
    with Terminal("inspect", "--sort", "age", "--config", str(config), columns=80, rows=24) as terminal:
        assert terminal.wait() == 2
        assert "--sort must be one of ini, ready" in terminal.text
