"""Decoding a message into a task: what is taken, what is refused, and with which words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pika.compat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import InvalidTask
from taskqueue.task import decode as state
from taskqueue.task import document
from taskqueue.task.decode import Task, decode
from taskqueue.task.message import Message

NOW = 1_700_000_000.25


def read(fields: Any, *, headers: dict[str, Any] | None = None, now: float = NOW, **properties: Any) -> Task:
    """Decode a message with these fields."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return decode(Message(body, headers or {}, {"message_id": "id-1", **properties}), now=now)


def refusal(fields: Any, **more: Any) -> str:
    """Decode a message that can't be a task and give the reason."""
    with pytest.raises(InvalidTask) as caught:
        read(fields, **more)
    return str(caught.value)


def test_a_url_alone_is_a_task_that_is_due_on_receipt() -> None:
    """Every other field has a default."""
    task = read({"url": "/x"})
    assert (task.url, task.content, task.due, task.runs) == ("/x", b"{}", 1_700_000_000_250, 0)
    assert (task.max_retries, task.expires, task.roll_back, task.queue, dict(task.metadata)) == (
        None, None, None, None, {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        ('{"already": "encoded"}', b'{"already": "encoded"}'),
        ("", b""),
        ("ünï", "ünï".encode()),
        ({"a": [1, 2.5, None, True]}, b'{"a": [1, 2.5, null, true]}'),
        ([], b"[]"),
        (None, b"null"),
        (False, b"false"),
        (0, b"0"),
    ],
)
def test_a_string_payload_is_sent_as_it_is_and_anything_else_as_written(payload: Any, content: bytes) -> None:
    """The string is already JSON-encoded data."""
    assert read({"url": "/x", "payload": payload}).content == content


@pytest.mark.parametrize(
    "written",
    [
        "9007199254740993.25",
        "1000000000000000000.5",
        "[0.1000, 1e2, -0, 1E+400]",
        "9" * 5000,
        '"text \\u00e9 as it was escaped"',
        '{"b": 1,  "a" : "ü😀\u2028", "b": 2}',
        '["half a pair: \\ud83d"]',
        " \n{ }\t",
        "null",
    ],
)
def test_a_payload_goes_out_as_it_was_written(written: str) -> None:
    """Digit for digit and in UTF-8, wherever it stands among the fields, and into the roll_back as well."""
    content = written.strip().encode()
    if written.startswith('"'):
        content = json.loads(written).encode()
    for body in (
        f'{{"url":"/x","roll_back":"/y","payload":{written}}}',
        f' {{ "payload" : {written} , "url" :\n"/x","roll_back":"/y" }} ',
        f'{{"p\\u0061yload": 1, "\\u0070ayload": {written}, "url": "/x", "roll_back": "/y"}}',
    ):
        assert read(body.encode()).content == content
        rolled_back = state.roll_back_body(body.encode())
        task = read(rolled_back)
        assert (task.url, task.content, task.roll_back) == ("/y", content, None)
        assert len(rolled_back) < len(body.encode())


def test_of_two_fields_with_one_name_the_last_counts() -> None:
    """As in every JSON library that takes them at all."""
    assert read(b'{"url": "/x", "payload": [1], "payload": "raw"}').content == b"raw"
    assert read(b'{"url": "/x", "payload": "raw", "payload": [1]}').content == b"[1]"


def test_what_is_encoded_is_utf_8_and_as_long_as_its_text() -> None:
    """Escapes would make three times the size of it, and a task that was taken too large to be sent again."""
    assert state.encode({"payload": "ü😀"}) == '{"payload":"ü😀"}'.encode()
    assert state.encode({"payload": ["\ud83d"]}) == b'{"payload":["\\ud83d"]}'


def test_eta_is_rounded_up_to_the_millisecond() -> None:
    """No task is early, not by a fraction."""
    assert read({"url": "/x", "eta": 1_700_000_100.0001}).due == 1_700_000_100_001


@pytest.mark.parametrize(
    ("timestamp", "due"),
    [
        (None, 1_700_000_020_250),
        (1_699_999_990, 1_700_000_011_000),  # the end of its second, plus 20 s
        (1_700_000_000, 1_700_000_020_250),  # its end would be later than the receipt
        (1_800_000_000, 1_700_000_020_250),  # from the future
        (1_577_836_800, 1_577_836_821_000),  # the first that is believed
        (1_577_836_799, 1_700_000_020_250),  # before 2020, so none of the rest is a time
        (0, 1_700_000_020_250),
        (1, 1_700_000_020_250),
        (-1, 1_700_000_020_250),
        (1_700_000, 1_700_000_020_250),  # in thousands of seconds
        (1_700_000_000_000, 1_700_000_020_250),  # in milliseconds
        (1_700_000_000_000_000_000, 1_700_000_020_250),  # in nanoseconds
        (2**64 - 1, 1_700_000_020_250),
        (1_699_999_990.0, 1_700_000_020_250),  # nothing that AMQP has
        (True, 1_700_000_020_250),
    ],
)
def test_countdown_starts_at_the_end_of_the_timestamp_and_never_after_receipt(
    timestamp: float | None, due: int
) -> None:
    """A timestamp has whole seconds; its end is taken, so that no task is early."""
    properties: dict[str, Any] = {} if timestamp is None else {"timestamp": timestamp}
    assert read({"url": "/x", "countdown": 20}, **properties).due == due


def test_the_header_tells_the_due_time_once_there_is_one() -> None:
    """The body is never rewritten, so its countdown stops to count once the task has walked."""
    headers = {state.DUE: 5, state.RUNS: 2, state.ERROR: "status 503", state.FIRST_SEEN: 4}
    task = read({"url": "/x", "countdown": 20}, headers=headers)
    assert (task.due, task.runs, task.error, task.first_seen) == (5, 2, "status 503", 4)


def test_a_task_that_an_operator_has_moved_is_for_that_queue_whatever_it_names_itself() -> None:
    """Else its consumer would move it back."""
    moved = {"taskqueue-moved-to": "other"}
    assert read({"url": "/x", "queue": "mail"}, headers=moved).queue == "other"
    assert read({"url": "/x"}, headers=moved).queue == "other"
    assert refusal({"url": "/x"}, headers={"taskqueue-moved-to": 7}).startswith("header taskqueue-moved-to")


@pytest.mark.parametrize(
    ("keys", "queue"),
    [
        (["10s>due:mail"], "mail"),
        (["10s>0.3s", "0.1s>due:mail", "astray>due:mail"], "mail"),
        ([], None),
        (["10s>due"], None),
        ("10s>due:mail", None),
        (None, None),
        ([b"\xff", 7], None),
    ],
)
def test_the_way_that_a_message_came_tells_for_which_queue_it_was(keys: Any, queue: str | None) -> None:
    """And nothing is refused over it, whatever others write there."""
    assert read({"url": "/x"}, headers={"CC": keys}).meant_for == queue
    assert read({"url": "/x"}).meant_for is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"", "body: is not JSON"),
        (b"nonsense", "got 'nonsense'"),
        (b"\xff\xfe", "body: is not UTF-8: byte 0 is 0xff"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"url": "/x", "payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"url": "/x", "eta": NaN}', "NaN is not a JSON number"),
        (b'{"url": "/x", "payload": [Infinity]}', "Infinity is not a JSON number"),
        (b'{"url": "/x", "payload": [NaN]}', "NaN is not a JSON number"),
        (b'{"url": "/x", "payload": 1.}', "body: is not JSON"),
        (b'{"url": "/x", "payload": }', "body: is not JSON: Expecting value"),
        (b'{"url": "/x", "payload": 01}', "body: is not JSON"),
        (b'{"url": "/x", "payload": "\n"}', "body: is not JSON"),
        (b'{"url": "/x",}', "body: is not JSON"),
        (b'{"url": "/x"} {}', "body: is not JSON: Extra data"),
        (b'{"url": "/x"', "body: is not JSON"),
        (b'{"url" "/x"}', "body: is not JSON"),
        (b'{"u\\u0072l" "/x"}', "body: is not JSON"),
        (b"\xef\xbb\xbf[]", "body: must be a JSON object, got list"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"url": "/x"}', "body: is not JSON"),
        (b'{"url": \xef\xbb\xbf"/x"}', "body: is not JSON"),
        (b'{"url": "/x", "payload": "\\ud800"}', "payload: can't be sent"),
        (b'{"url": "/x", "eta": ' + b"9" * 5000 + b"}", "eta: must be from 0 to 253402300799 seconds, got 9"),
        (b'{"url": "/x", "max_retries": ' + b"9" * 5000 + b"}", "max_retries: must be a whole number"),
        (b'{"url": "/x", "queue": ' + b"9" * 5000 + b"}", "queue: must be a text that is not empty, got 999"),
        (b'{"url": "/x", "eta": ' + b"9" * 400 + b"}", "eta: must be from 0"),
        (b'{"url": "/x", "countdown": -' + b"9" * 400 + b"}", "countdown: must be from 0"),
        (b'{"url": "/x", "max_retries": ' + b"9" * 400 + b"}", "max_retries: must be a whole number"),
        ([], "body: must be a JSON object, got list"),
        ("text", "body: must be a JSON object, got 'text'"),
        ({}, "url: is missing"),
        ({"url": ""}, "url: must be a path or an http(s) URL, got ''"),
        ({"url": 7}, "url: must be a path or an http(s) URL, got 7"),
        ({"url": "/a b"}, "url: must hold no space"),
        ({"url": "/a\r\nHost: evil"}, "url: must hold no space"),
        ({"url": "ftp://host/x"}, "url: must have the scheme http or https, got 'ftp'"),
        ({"url": "file:///etc/passwd"}, "url: must have the scheme http or https, got 'file'"),
        ({"url": "http:///x"}, "url: must name a host"),
        ({"url": "http:x"}, "url: must name a host"),
        ({"url": "http://host:99999/"}, "url: is not a URL"),
        ({"url": "http://[::1/"}, "url: is not a URL"),
        ({"url": "http://user:secret@host/"}, "url: holds credentials before an @"),
        ({"url": "/x", "roll_back": "http://user:secret@host/"}, "roll_back: holds credentials before an @"),
        ({"url": "http://a..b/"}, "url: not a host name: 'a..b'"),
        ({"url": "/x", "roll_back": "http://[fe80::1%25eth0]/"}, "roll_back: names an interface"),
        ({"url": "http://host:0/"}, "url: port must be from 1"),
        ({"url": "/" + "x" * 20_000}, "url: must have at most 16384 characters, got 20001"),
        ({"url": "/x", "roll_back": 1}, "roll_back: must be a path or an http(s) URL, got 1"),
        ({"url": "/x", "countdown": -1}, "countdown: must be from 0"),
        ({"url": "/x", "countdown": "20"}, "countdown: must be a number of seconds, got '20'"),
        ({"url": "/x", "countdown": True}, "countdown: must be a number of seconds, got True"),
        ({"url": "/x", "countdown": [1]}, "countdown: must be a number of seconds, got list"),
        ({"url": "/x", "countdown": 1e300}, "countdown: must be from 0"),
        ({"url": "/x", "eta": 1_700_000_000_000}, "eta: must be from 0"),
        ({"url": "/x", "eta": -0.5}, "eta: must be from 0"),
        ({"url": "/x", "eta": 1, "countdown": 2}, "eta: goes without countdown, got eta 1 and countdown 2"),
        ({"url": "/x", "eta": 1_795_692_596.5, "countdown": 0}, "got eta 1795692596.5 and countdown 0"),
        ({"url": "/x", "max_retries": -1}, "max_retries: must be a whole number"),
        ({"url": "/x", "max_retries": 2.5}, "max_retries: must be a whole number"),
        ({"url": "/x", "max_retries": True}, "max_retries: must be a whole number"),
        ({"url": "/x", "max_retries": 10**30}, "max_retries: must be a whole number"),
        ({"url": "/x", "expires": "soon"}, "expires: must be a number of seconds, got 'soon'"),
        ({"url": "/x", "queue": 3}, "queue: must be a text that is not empty, got 3"),
        ({"url": "/x", "metadata": [[]]}, "metadata: must be an object, got list"),
        ({"url": "/x", "metadata": ""}, "metadata: must be an object, got ''"),
        ({"url": "/x", "metadata": False}, "metadata: must be an object, got False"),
        ({"url": "/x", "metadata": 0}, "metadata: must be an object, got 0"),
    ],
)
def test_what_can_not_be_a_task_is_refused_with_field_and_value(fields: Any, words: str) -> None:
    """An operator sees in the dead queue what is wrong, and where."""
    assert words in refusal(fields)


def test_a_number_of_a_header_is_shown_as_one() -> None:
    """Our library pika reads a 64-bit integer as a kind of its own, which writes itself with an L."""
    assert refusal({"url": "/x"}, headers={state.RUNS: pika.compat.long(2**40)}).endswith(f"got {2**40}")


def test_a_password_in_a_url_is_not_shown() -> None:
    """A refusal goes to the log and to the dead queue."""
    assert "hunter2" not in refusal({"url": "http://me:hunter2@host:99999/"})
    assert "hunter2" not in refusal({"url": "http://me:hunter2@host/with space"})
    assert "hunter2" not in refusal({"url": "http://me:hunter2/@host/with space"})
    assert "hunter2" not in refusal({"url": "/x", "roll_back": "https://me:hunter2@ho\nst/"})
    # What Python says of a URL that it can't split quotes what it takes for a port or an address.
    assert "hunter2" not in refusal({"url": "http://me:hunter2/x@127.0.0.1/x"})
    assert "hunter2" not in refusal({"url": "/x", "roll_back": "http://me:hunter2?x@127.0.0.1/"})
    assert "hunter2" not in refusal({"url": "http://[me:hunter2]@127.0.0.1/"})


TIMES = (state.DUE, state.FIRST_SEEN, state.SINCE)
COUNTS = (state.RUNS, state.CRASHES, state.REFUSALS, state.MISSED)
LAST = 253_402_300_799


@pytest.mark.parametrize("name", [*TIMES, *COUNTS])
@pytest.mark.parametrize("value", ["1", -1, True, LAST * 1000 + 1, 2**62, 2**63, {}])
def test_a_header_of_ours_that_can_not_be_is_refused(name: str, value: Any) -> None:
    """Other producers may write anything; no task waits for ever."""
    assert f"header {name}: must be a whole number" in refusal({"url": "/x"}, headers={name: value})


def test_no_task_is_due_after_the_year_9999_however_that_is_written() -> None:
    """And all are until then, in milliseconds for seconds or not."""
    assert read({"url": "/x"}, headers=dict.fromkeys(TIMES, LAST * 1000)).due == LAST * 1000
    assert read({"url": "/x", "eta": LAST}).due == LAST * 1000
    assert "eta: must be from 0 to" in refusal({"url": "/x", "eta": LAST + 1})
    assert "countdown: must end by the year 9999, got" in refusal({"url": "/x", "countdown": LAST})


def test_an_id_that_is_no_text_is_refused() -> None:
    """Pika gives bytes where a property is not UTF-8; a program may give what AMQP can't carry."""
    assert "message_id: must be a text" in refusal({"url": "/x"}, message_id=b"\xff")
    assert "message_id: must be Unicode" in refusal({"url": "/x"}, message_id="\udcff")
    assert "message_id: must have at most 255 bytes, got 256" in refusal({"url": "/x"}, message_id="é" * 128)


def test_a_body_over_the_bound_is_refused_before_it_is_parsed() -> None:
    """RabbitMQ 4 takes no more by default either."""
    assert "body: must have at most 16777216 bytes" in refusal(b" " * (state.LARGEST_BODY + 1))


def test_whole_floats_count_as_whole_numbers() -> None:
    """JSON does not tell 3 from 3.0, and some languages write the one for the other."""
    assert read({"url": "/x", "max_retries": 3.0}).max_retries == 3


def test_null_is_the_same_as_absent() -> None:
    """A producer that writes every field of a struct is not punished for it."""
    task = read({"url": "/x", "eta": None, "countdown": None, "max_retries": None, "metadata": None})
    assert (task.max_retries, dict(task.metadata)) == (None, {})


def test_an_empty_array_of_metadata_is_an_empty_object() -> None:
    """PHP writes an array without members so, whatever it was to hold; and so does the roll_back of it."""
    body = b'{"url": "/x", "metadata": [ ], "roll_back": "/y"}'
    assert read(body).metadata == {}
    assert read(state.roll_back_body(body)).metadata == {}


def test_a_byte_order_mark_before_the_object_does_no_harm() -> None:
    """.NET and PowerShell write one; everything is read, and cut out for the roll_back, as without it."""
    body = b'\xef\xbb\xbf {"url": "/x", "payload": {"a": 1.50}, "roll_back": "/y"}'
    assert read(body).content == b'{"a": 1.50}'
    assert state.roll_back_body(body) == b'{"url":"/y","payload":{"a": 1.50}}'


def test_unknown_fields_are_named_and_ignored() -> None:
    """The consumer logs them once."""
    assert read({"url": "/x", "later": 1, "eat": 2}).unknown == ("eat", "later")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    fields=st.dictionaries(
        st.sampled_from(["url", "payload", "metadata"]) | st.text(), json_values, max_size=5
    ),
    indent=st.sampled_from([None, 1, "\t\r\n "]),
    ascii_only=st.booleans(),
)
def test_a_document_is_read_as_the_standard_library_reads_it(
    fields: dict[str, Any], indent: int | str | None, *, ascii_only: bool
) -> None:
    """And each value is what was written."""
    try:
        text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
        body = text.encode()
    except ValueError:
        return
    found = document.read(body)
    assert found.values.keys() == fields.keys()
    for name, value in json.loads(text).items():
        assert json.loads(found.written(name)) == value
        assert name == "payload" or found.values[name] == value


@given(st.text(alphabet='{}[]",:\\ \t\nu0d81+-.', max_size=20).map(lambda text: text.encode()))
def test_what_is_no_object_for_the_standard_library_is_none(body: bytes) -> None:
    """Nor is anything else refused."""
    try:
        expected = json.loads(body)
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        assert document.read(body).values.keys() == expected.keys()
    else:
        with pytest.raises(InvalidTask):
            document.read(body)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    """Nothing that a message contains can stop a consumer."""
    with suppress(InvalidTask):
        assert read(body).url


@given(
    st.dictionaries(st.sampled_from(sorted(state.KNOWN)) | st.text(), json_values, max_size=6),
    st.dictionaries(
        st.sampled_from([state.DUE, state.RUNS, state.ERROR, state.FAILED_URL, "CC", "x-death"]),
        json_values | st.binary(),
        max_size=3,
    ),
)
def test_no_document_and_no_headers_raise_anything_but_a_refusal(
    document: dict[str, Any], headers: dict[str, Any]
) -> None:
    """A task that is taken has values of the right types."""
    with suppress(InvalidTask):
        task = read({"url": "/x", **document}, headers=headers)
        assert isinstance(task.url, str)
        assert isinstance(task.content, bytes)
        assert task.due >= 0
        assert task.runs >= 0
        assert task.meant_for is None or isinstance(task.meant_for, str)
