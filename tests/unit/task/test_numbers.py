"""Numbers of other languages: ignored, refused by name, or sent on as they were written."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import InvalidTask
from taskqueue.send.new_task import NewTask
from taskqueue.settings import Settings
from taskqueue.task import decode as state
from taskqueue.task.decode import Task
from taskqueue.task.document import value_of
from taskqueue.task.message import Message
from taskqueue.testing import RecordingClient

TEXTS = ["url", "roll_back", "queue"]
NUMBERS = [
    "7" * 5000,
    "-" + "7" * 5000,
    "9007199254740993.25",
    "1000000000000000000.5",
    "1.50",
    "1e999",
    "-1E+999",
    "0." + "3" * 5000,
    "1e-999",
    "-0",
    "12",
]


OURS = [10**5000 + 7, -(10**4400), 10**640, 10**640 - 1, 2**64, 1.5]


@pytest.fixture(params=[4300, 640, 0])
def digits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have Python itself write and read as many digits; 0 is no limit."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(request.param)
    yield
    sys.set_int_max_str_digits(before)


def read(body: str) -> Task:
    """Decode a message with this body."""
    return state.decode(Message(body.encode(), {}, {"message_id": "m"}), now=0)


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_nobody_reads_does_no_harm(number: str) -> None:
    """In a field that we don't know, in metadata, in the payload; and the roll_back has it as it was."""
    carried = f'"payload":[{number}],"metadata":{{"a":[{number}]}}}}'
    body = f'{{"url":"/x","roll_back":"/y","own":{number},{carried}'
    task = read(body)
    assert task.unknown == ("own",)
    assert task.content == f"[{number}]".encode()
    assert state.roll_back_body(body.encode()) == f'{{"url":"/y",{carried}'.encode()


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("number", ["7" * 5000, "-" + "7" * 5000, "1e999", "-1E+999"])
@pytest.mark.parametrize("name", [*TEXTS, "metadata", "countdown", "eta", "expires", "max_retries"])
def test_a_number_that_can_not_be_is_told_by_its_field(name: str, number: str) -> None:
    """In our words."""
    with pytest.raises(InvalidTask, match="must be") as caught:
        read(f'{{"url": "/x", "{name}": {number}}}')
    assert caught.value.field == name
    assert number[:10] in str(caught.value) or name == "metadata"
    assert len(str(caught.value)) < 200


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("number", OURS, ids=range(len(OURS)))
@pytest.mark.parametrize("name", ["payload", "metadata"])
def test_a_large_number_of_ours_is_sent(name: str, number: float) -> None:
    """Digit for digit."""
    publish = NewTask.of({"url": "/x", name: {"a": number}}).publish(Settings().way("mail"), 1_790_000_000.0)
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert json.loads(publish.message.body)[name] == {"a": number}
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    "name", ["countdown", "eta", "expires", "max_retries", "priority", "queue", "url", "id"]
)
def test_a_large_number_that_can_not_be_is_refused_by_its_name(name: str) -> None:
    """And not by what Python says of it."""
    fields: dict[str, Any] = {"url": "/x", name: 10**5000}
    with pytest.raises(InvalidTask) as caught:
        RecordingClient().send(**fields)
    assert "must be" in str(caught.value)
    assert "Exceeds" not in str(caught.value)


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "it holds a set, for which JSON has no word"),
        (float("nan"), "it holds NaN, an infinity, or itself"),
        ([float("-inf")], "it holds NaN, an infinity, or itself"),
        (LOOP, "itself"),
        ({(1, 2): 3}, "it holds a name in an object that is no text"),
        (b"x", "it holds a bytes, for which JSON has no word"),
    ],
)
@pytest.mark.parametrize("name", ["payload", "metadata"])
def test_what_is_no_json_is_told_in_our_words(name: str, value: Any, words: str) -> None:
    """Wherever it stands."""
    task = NewTask.of({"url": "/x", name: {"a": value}})
    with pytest.raises(InvalidTask, match="message: can't be written as JSON: ") as caught:
        task.publish(Settings().way("mail"), 1_790_000_000.0)
    assert words in str(caught.value)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_any_number_is_written_as_it_was_read(text: str) -> None:
    """And is a number to whoever reads it; minus nothing is nothing."""
    (number,) = value_of(f"[{text}]")
    written = state.encode({"metadata": {"a": number, "b": copy.deepcopy(number)}})
    kept = "0" if text == "-0" else text
    assert written == f'{{"metadata":{{"a":{kept},"b":{kept}}}}}'.encode()
    assert float(number) == float(text)


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    """Whatever stands in it."""
    assert state.encode({"metadata": {"a": ["1.50", "7" * 700]}}).count(b'"') == 8
