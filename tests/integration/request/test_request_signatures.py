"""Signatures, told genuine by others: an independent library, and the examples of the documentation."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from sandbox.attempt import executing, headers
from sandbox.peer import Peer, answering

DOCUMENT = Path(__file__).parents[3] / "docs" / "handlers.md"
NEW, OLD, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 24).decode()}" for n in range(3))
Genuine = Callable[[str, dict[str, str], bytes], bool]


def signed(*secrets: str, **changes: Any) -> tuple[dict[str, str], bytes]:
    """Make a real request with these secrets, and give its headers and body as they arrived."""
    with Peer(answering()) as peer, executing(handlers=("headers", "signing"), signing_secret=secrets) as run:
        assert run(peer.url, **changes).status == 200
    return headers(peer.requests[0]), peer.requests[0].partition(b"\r\n\r\n")[2]


@pytest.fixture(params=["library", "by hand"])
def genuine(request: pytest.FixtureRequest) -> Genuine:
    """Give the function that the documentation shows, as it stands there."""
    found = re.search(
        rf"<!-- test: {request.param} -->\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL
    )
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102 our own documentation
    function: Genuine = names["genuine"]
    return function


@pytest.mark.parametrize("content", [b"{}", b"", "ünï\n".encode(), b"x" * 100_000])
def test_the_library_of_the_standard_takes_our_signatures(content: bytes) -> None:
    """Whatever the body."""
    sent, body = signed(NEW, content=content)
    assert body == content
    Webhook(NEW).verify(body, sent, json_parse=False)


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_a_receiver_may_know_either_secret_while_they_change(genuine: Genuine, secret: str) -> None:
    """Both are signed with, so both verify."""
    sent, body = signed(NEW, OLD)
    assert genuine(secret, sent, body)


def test_the_documentation_refuses_what_is_not_ours(genuine: Genuine) -> None:
    """Another secret, another body, another id, no signature, an old one."""
    sent, body = signed(NEW)
    assert genuine(NEW, sent, body)
    assert not genuine(OTHER, sent, body)
    assert not genuine(NEW, sent, body + b" ")
    assert not genuine(NEW, sent | {"webhook-id": "other"}, body)
    assert not genuine(NEW, sent | {"webhook-timestamp": "1700000000"}, body)
    assert not genuine(NEW, sent | {"webhook-signature": "v1,"}, body)
    assert not genuine(NEW, {}, body)


def test_a_body_that_a_handler_dropped_is_signed_as_it_is(genuine: Genuine) -> None:
    """A GET has none, and is signed without."""
    sent, body = signed(NEW, metadata={"method": "GET"})
    assert body == b""
    assert genuine(NEW, sent, body)


def test_a_retry_is_signed_under_the_same_id(genuine: Genuine) -> None:
    """So that a receiver can tell it."""
    first, second = signed(NEW, runs=0), signed(NEW, runs=1, error="status 500")
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == "id-1"
    assert genuine(NEW, *second)
