"""The sections ``[schedule:NAME]``: what they allow, and how a mistake is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskqueue.errors import ConfigError
from taskqueue.settings import Settings, parse
from taskqueue.settings.schedules import KEYS, Definition, ScheduleSettings

QUEUES = "[default]\nbase_url = https://app.example.com\n[mail]\n"


def read(section: str, **options: bool) -> Settings:
    """Read an ini with two queues and a schedule."""
    return parse(QUEUES + section, source="t.ini", environ={"TEAM": "a"}, **options)


def test_a_schedule_has_its_defaults() -> None:
    """The queue `default`, UTC, and a run once after an outage."""
    settings = read("[schedule:nightly]\ncron = 30 2 * * *\nurl = /x")
    expected = ScheduleSettings("nightly", "default", Definition("30 2 * * *", "/x", "UTC", missed="once"))
    assert settings.schedules == {"nightly": expected}
    assert set(settings.queues) == {"default", "mail"}
    assert settings.scheduled == {"default"}


def test_every_key_is_read() -> None:
    """The payload as it is written, digit for digit."""
    keys = {
        "cron": "@daily", "timezone": "Europe/Berlin", "queue": "mail", "url": "https://h/x?a=${TEAM}",
        "payload": '{"n": 1.10}', "metadata": '{"headers": {"X": "1"}}', "max_retries": "3",
        "roll_back": "https://h/sorry", "missed": "skip",
    }  # fmt: skip
    text = "\n".join(f"{key} = {value}" for key, value in keys.items())
    found = read(f"[schedule:a.b-c_1]\n{text}").schedules["a.b-c_1"]
    assert found.queue == "mail"
    assert found.definition == Definition(
        "@daily", "https://h/x?a=a", "Europe/Berlin", '{"n": 1.10}', {"headers": {"X": "1"}}, 3,
        "https://h/sorry", "skip",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("cron = * * * *", r"t.ini:6: \[schedule:nightly\] cron: must be five fields"),
        ("cron = 0 0 30 2 *", r"\[schedule:nightly\] cron: bad day-of-month"),
        ("cron = * * */20 * 1L", r"\[schedule:nightly\] cron: never comes"),
        ("timezone = Mars/Base", r"t.ini:7: \[schedule:nightly\] timezone: must be a time zone"),
        ("queue = nowhere", r"t.ini:7: \[schedule:nightly\] queue: .*the queues are: default, mail"),
        ("queue = mail", r"t.ini:6: \[schedule:nightly\] url: is a path, and \[mail\] has no base_url"),
        ("url = x", r"\[schedule:nightly\] url: must be a path"),
        ("url = ftp://h/x", r"\[schedule:nightly\] url: must be a path"),
        ("payload = {", r"\[schedule:nightly\] payload: must be JSON"),
        ("payload = NaN", r"\[schedule:nightly\] payload: must be JSON"),
        ("metadata = []", r"\[schedule:nightly\] metadata: must be a JSON object"),
        ("max_retries = -1", r"\[schedule:nightly\] max_retries: must be a whole number"),
        ("roll_back = x y", r"\[schedule:nightly\] roll_back: must be a path"),
        ("missed = maybe", r"\[schedule:nightly\] missed: must be once or skip"),
        ("rate = 1/s", r"\[schedule:nightly\] rate: is not a key"),
        ("mised = once", r"\[schedule:nightly\] mised: is not a key; did you mean missed\?"),
    ],
)
def test_a_mistake_is_told_with_file_line_section_and_key(line: str, told: str) -> None:
    """And what is allowed."""
    keys = {"cron": "@daily", "url": "/x"}
    key, _, value = line.partition(" = ")
    keys = {key: value, **keys} if key not in keys else {**keys, key: value}
    # What is wrong stands below the section on line 4, after what is right.
    rest = [f"{name} = {each}" for name, each in keys.items() if name != key]
    order = [*rest, line] if key != "cron" else ["url = /x", line]
    with pytest.raises(ConfigError, match=told):
        read("[schedule:nightly]\n" + "\n".join(order))


@pytest.mark.parametrize("key", ["cron", "url"])
def test_what_a_schedule_needs_is_told(key: str) -> None:
    """With the line of its section."""
    lines = [line for line in ("cron = @daily", "url = /x") if not line.startswith(key)]
    with pytest.raises(ConfigError, match=rf"t.ini:4: \[schedule:nightly\] {key}: is missing"):
        read("[schedule:nightly]\n" + "\n".join(lines))


@pytest.mark.parametrize("name", ["", "a b", "a@b", "ä", "x" * 101])
def test_a_name_that_no_id_could_have_is_refused(name: str) -> None:
    """Ids, logs and headers hold it."""
    with pytest.raises(ConfigError, match="a schedule's name has"):
        read(f"[schedule:{name}]\ncron = @daily\nurl = /x")


def test_who_only_sends_needs_nothing_of_a_schedule() -> None:
    """Neither what it holds nor the variables in it."""
    assert read("[schedule:nightly]\ncron = ${NOT_THERE}\nurl = /x", sending=True).schedules == {}


def test_an_ini_needs_a_queue_beside_its_schedules() -> None:
    """A schedule is none."""
    with pytest.raises(ConfigError, match="names no queue"):
        parse("[schedule:a]\ncron = @daily\nurl = /x", source="t.ini", environ={})


def test_the_shipped_example_is_a_schedule_with_every_key() -> None:
    """With every comment sign before a key taken away."""
    text = (Path(__file__).parents[3] / "taskqueue.ini").read_text()
    example = text[text.index("# [schedule:nightly]") :]
    section = re.sub(r"^# (\w+ =|\[)", r"\1", example, flags=re.MULTILINE)
    assert set(re.findall(r"^(\w+) =", section, flags=re.MULTILINE)) == KEYS.keys()
    found = read(section).schedules["nightly"]
    url = "https://app.example.com/reports/nightly"
    assert found.definition == Definition("30 2 * * *", url, payload="{}", metadata={})


@pytest.mark.parametrize("name", ["mail.schedule", "mail.schedule.due"])
def test_names_of_schedules_are_refused_for_queues(name: str) -> None:
    """They belong to the queue."""
    with pytest.raises(ConfigError, match="belongs to queue 'mail'"):
        read(f"[{name}]")
