"""A signature is told genuine as the standard has it, and importing that costs nothing."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from taskqueue.receiver import NotGenuine, Verifier

NEW, OLD, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 24).decode()}" for n in range(1, 4))
BODY = '{"user": "ünï"}'


def signed(secret: str, *, task_id: str = "id-1", age: float = 0) -> dict[str, str]:
    """Sign with the library of the standard, which shares no code with ours."""
    at = datetime.fromtimestamp(int(time.time() - age), tz=UTC)
    return {
        "Webhook-Id": task_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(task_id, at, BODY),
    }


@pytest.mark.parametrize("secrets", [NEW, [NEW], [OLD, NEW], (NEW, OTHER)])
def test_it_takes_what_the_standard_signs(secrets: Any) -> None:
    """With any of its secrets, and gives the id."""
    assert Verifier(secrets).verify(signed(NEW), BODY.encode()) == "id-1"


def test_one_signature_of_several_is_enough() -> None:
    """As while the secrets of a queue change."""
    both = signed(OLD)
    both["Webhook-Signature"] += " " + signed(NEW)["Webhook-Signature"]
    assert Verifier(NEW).verify(both, BODY.encode()) == "id-1"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"Webhook-Id": "other"}, "another secret, or changed"),
        ({"Webhook-Id": ""}, "not signed: the queue needs signing"),
        ({"Webhook-Id": "\udcff"}, "another secret, or changed"),
        ({"Webhook-Signature": ""}, "another secret, or changed"),
        ({"Webhook-Signature": "v1, v1"}, "another secret, or changed"),
        ({"Webhook-Signature": "v1,\udcff é"}, "another secret, or changed"),
        ({"Webhook-Timestamp": ""}, "not signed"),
        ({"Webhook-Timestamp": "now"}, "not signed"),
        ({"Webhook-Timestamp": "²"}, "not signed"),
        ({"Webhook-Timestamp": "1" * 5000}, "not signed"),
        ({"Webhook-Timestamp": "1700000000"}, "too long ago"),
        ({"Webhook-Timestamp": "99999999999"}, "too long ago"),
    ],
)
def test_what_is_not_genuine_is_refused_in_words(changed: dict[str, str], words: str) -> None:
    """Whatever a header holds, nothing else is raised."""
    with pytest.raises(NotGenuine, match=words):
        Verifier(NEW).verify(signed(NEW) | changed, BODY.encode())


def test_another_body_or_secret_is_refused() -> None:
    """By one bit, and where there are no headers at all."""
    with pytest.raises(NotGenuine, match="another secret, or changed"):
        Verifier(NEW).verify(signed(NEW), BODY.encode() + b" ")
    with pytest.raises(NotGenuine, match="another secret, or changed"):
        Verifier([OLD, OTHER]).verify(signed(NEW), BODY.encode())
    with pytest.raises(NotGenuine, match="not signed"):
        Verifier(NEW).verify({}, b"")


def test_how_old_a_signature_may_be_is_a_setting() -> None:
    """Five minutes by default, in both directions."""
    for age in (400, -400):
        with pytest.raises(NotGenuine, match="too long ago"):
            Verifier(NEW).verify(signed(NEW, age=age), BODY.encode())
        assert Verifier(NEW, tolerance=3600).verify(signed(NEW, age=age), BODY.encode())


@pytest.mark.parametrize("secrets", ["", [], [""], "whsec_", "whsec_hunter2!", [NEW, None], [b"x"]])
def test_a_secret_that_is_none_is_refused_when_it_is_made(secrets: Any) -> None:
    """A variable that is not set must not open the door, nor be shown."""
    with pytest.raises(ValueError, match="secret") as caught:
        Verifier(secrets)
    assert "hunter2" not in str(caught.value)


def test_no_secret_at_all_is_an_error() -> None:
    """As with os.environ.get."""
    with pytest.raises(TypeError):
        Verifier(None)  # type: ignore[arg-type]


def test_it_imports_nothing_but_the_standard_library() -> None:
    """A receiver need not have a broker's client in it."""
    program = (
        "import taskqueue.receiver.wsgi, taskqueue.receiver.asgi, sys; "
        "print(*(name for name in sys.modules if name.partition('.')[0] in "
        "{'pika', 'urllib3', 'asyncio', 'ssl', 'django', 'flask'} or name.startswith('taskqueue.')))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) == {
        "taskqueue.errors",
        "taskqueue.receiver",
        "taskqueue.receiver.asgi",
        "taskqueue.receiver.wsgi",
    }
