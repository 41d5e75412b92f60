"""URLs in messages hold no login."""

from __future__ import annotations

import json
from string import ascii_letters, digits
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.redact import HIDDEN, excerpt, redacted, safe_headers, without_logins


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
        ("https:///u:p@h/v", "https://h/v"),
        ("https:////u:p@h/v", "https://h/v"),
        ("http://[::1", "http://[::1"),
        ("u:a://b@h", "h"),
        ("//u:p@h/x?y", "//h/x?…"),
        ("http://base/api//u:p@h/v", "http://base/api//h/v"),
        ("http://base/proxy/https://u:p@h/v", "http://base/proxy/https://h/v"),
        ("https://a/b/https://d/@me", "https://a/b/https://d/@me"),
        ("/users/@me", "/users/@me"),
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"url": "http://u:SECRET@h/x?a=b", "n": 1.50}', '{"url": "http://h/x?a=b", "n": 1.50}'),
        (r'{"url":"http:\/\/u:SECRET@h\/x"}', '{"url":"http://h/x"}'),
        (r'{"url":"http://u:SECRET\u0040h/x"}', '{"url":"http://h/x"}'),
        (r'{"url":"http://u:SEC\"SECRET @h/x"}', '{"url":"http://h/x"}'),
        ('{"url":"http:u:SECRET@h/x"}', '{"url":"http:h/x"}'),
        ('{"url":"//u:SECRET@h/x"}', '{"url":"//h/x"}'),
        ('{"url":"http:///u:SECRET@h/x"}', '{"url":"http://h/x"}'),
        (r'{"a":"{\"b\":\"amqp://u:SECRET@h/v\"}"}', r'{"a":"{\"b\":\"amqp://h/v\"}"}'),
        ('{"a":"see http://u:SECRET@h/x, a@b"}', '{"a":"see http://h/x, a@b"}'),
        ('{"url":"http://u:SECRET@h/x', '{"url":"http://h/x'),
        ("at //u:SECRET@h/x: //u:a/SECRET@h", "at //h/x: //h"),
        ("'/proxy/http://u:SECRET@h/x' and a@b", "'/proxy/http://h/x' and a@b"),
        ("POST http://u:SECRET@h/x and more", "POST http://h/x and more"),
        ('{"url": "https://h/@me?mail=a@b", "mail": "a@b", "é": "\\u00e9"}', None),
        ('{"to": "mailto:a@b", "who": "u:p@h"}', None),
        ("", None),
    ],
)
def test_a_text_is_shown_without_the_logins_in_it(text: str, shown: str | None) -> None:
    """Whatever notation of JSON hides them; and all else stands as it was written."""
    assert without_logins(text) == (text if shown is None else shown)


@given(st.text(), st.text(max_size=5))
def test_no_login_in_a_json_document_is_shown(password: str, other: str) -> None:
    """Of a URL that is a string of it."""
    document = {other: [other, {"url": f"http://u:SECRET{password}SECRET@h/x"}]}
    assert "SECRET" not in without_logins(json.dumps(document))
    assert "SECRET" not in without_logins(json.dumps(document, ensure_ascii=False))


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    """A message about something wrong must not fail itself, nor add to it more than a sign."""
    assert len(redacted(text)) <= len(text) + 1
    without_logins(text)


@pytest.mark.parametrize(
    "piece", ["a", '"', '\\"', '"\\', "//", "http://a/", "//[", "a:", "?", " ", "@", '"a@//b"']
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    """A message of 16 MiB is shown, and errors may be as long: by its square this would take hours."""
    text = f'"{piece * (400_000 // len(piece))}@'
    for write in (redacted, without_logins, excerpt):
        write(text)


def test_the_host_stays() -> None:
    """It is what the message is about."""
    assert urlsplit(redacted("amqp://u:p@rabbit.example:5672/v")).hostname == "rabbit.example"


def test_headers_are_shown_without_credentials() -> None:
    """By their names; and where any name may be one, only those that are known."""
    headers = {
        "Authorization": "s", "Set-Cookie": "s", "X-Api-Key": "s", "X-Session-Id": "s",
        "Idempotency-Key": "1", "Taskqueue-Id": "1", "webhook-signature": "v1,x",
        "X-Plain": "1", "X-Other": "1",
    }  # fmt: skip
    secret = {"Authorization", "Set-Cookie", "X-Api-Key", "X-Session-Id"}
    assert {name for name, value in safe_headers(headers).items() if value == HIDDEN} == secret
    some = safe_headers(headers, {"x-plain", "authorization"})
    assert {name for name, value in some.items() if value == HIDDEN} == secret | {"X-Other"}
