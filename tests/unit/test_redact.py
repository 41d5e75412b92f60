"""URLs in messages hold no login."""

from __future__ import annotations

from string import ascii_letters, digits
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.redact import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:guest@localhost:5672/", "amqp://localhost:5672/"),
        ("amqps://u:p@[::1]:5671/v%2Fh", "amqps://[::1]:5671/v%2Fh"),
        ("amqp://u@h", "amqp://h"),
        ("https://example.com/a/b", "https://example.com/a/b"),
        ("https://example.com:8443/users/@me", "https://example.com:8443/users/@me"),
        ("https://example.com/a?token=x&b=@c", "https://example.com/a?…"),
        ("amqps://h/v?ssl_options={'password':'x'}", "amqps://h/v?…"),
        ("https://example.com/a#token", "https://example.com/a?…"),
        ("u:p@h:1/v", "h:1/v"),
        ("amqp://u:p/w@h/v", "amqp://h/v"),
        ("amqp://u:p@w@h/v", "amqp://h/v"),
        ("amqp://u:p@w/x@h/v", "amqp://h/v"),
        ("amqp://u:p#w@h/v", "amqp://h/v"),
        ("amqp://u:p?w@h/v", "amqp://h/v"),
        ("amqp://u:12/w@h/v", "amqp://h/v"),
        ("https://u:/w@h/v", "https://h/v"),
        ("http://[::1", "http://[::1"),
        ("u:a://b@h", "h"),
        ("a path", "a path"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_login(url: str, shown: str) -> None:
    """Nor with a query, which often holds a token; the place stays readable."""
    assert redacted(url) == shown


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["h", "h:1", "[::1]:5672"]))
def test_an_encoded_login_leaves_the_same_url_without_it(user: str, password: str, place: str) -> None:
    """Whatever it holds."""
    url = f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@{place}/v"
    assert redacted(url) == f"amqp://{place}/v"


@given(st.text(ascii_letters + digits + "!/?#:@%[]", max_size=30))
def test_a_password_as_it_is_typed_is_not_shown(password: str) -> None:
    """People forget to encode it."""
    url = f"amqp://u:{password}SECRET{password}@h/v"
    assert "SECRET" not in redacted(url)


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    """A message about something wrong must not fail itself, nor add to it more than a sign."""
    assert len(redacted(text)) <= len(text) + 1


def test_the_host_stays() -> None:
    """It is what the message is about."""
    assert urlsplit(redacted("amqp://u:p@rabbit.example:5672/v")).hostname == "rabbit.example"
