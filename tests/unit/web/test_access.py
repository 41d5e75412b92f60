"""Who gets in: the token, sessions that follow from it, and the names by which the page is reached."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.web.access import LASTS, Access, from_form, granted, is_loopback, is_named_loopback

TOKEN = "0123456789abcdef"
ACCESS = Access(TOKEN, open_counts=False)
NOW = 1_800_000_000.0


def test_the_token_opens_by_a_header() -> None:
    """And nothing else does, whatever stands there."""
    visitor = ACCESS.bearer(f"Bearer {TOKEN}")
    assert visitor is not None
    assert from_form(visitor, None)
    assert ACCESS.bearer(f"bearer  {TOKEN} ") is not None
    for header in (None, "", TOKEN, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"):
        assert ACCESS.bearer(header) is None


def test_a_session_lasts_for_its_time_and_over_a_restart() -> None:
    """And knows the name of who began it."""
    cookie = ACCESS.begin(" Ann Müller \n", NOW)
    for access in (ACCESS, Access(TOKEN, open_counts=False)):
        visitor = access.session(cookie, NOW + LASTS - 1)
        assert visitor is not None
        assert visitor.name == "Ann Müller"
    assert ACCESS.session(cookie, NOW + LASTS) is None
    assert Access("another-token-of-16", open_counts=False).session(cookie, NOW) is None


def test_a_session_can_not_be_made_longer_or_somebody_elses() -> None:
    """Each part of the cookie is under the mark."""
    until, nonce, name, mark = ACCESS.begin("ann", NOW).split(".")
    bob = base64.urlsafe_b64encode(b"bob").decode()
    for parts in (
        (str(int(until) + 1), nonce, name, mark),
        (until, nonce + "x", name, mark),
        (until, nonce, bob, mark),
        (until, nonce, name, ""),
        (until, nonce, mark),
    ):
        assert ACCESS.session(".".join(parts), NOW) is None


@given(st.text())
def test_no_cookie_of_others_is_a_session(cookie: str) -> None:
    """Nor an error."""
    assert ACCESS.session(cookie, NOW) is None
    assert not ACCESS.knows(cookie) or cookie == TOKEN


def test_a_form_belongs_to_one_session() -> None:
    """What another session has does not do, and neither does nothing."""
    mine, other = (ACCESS.session(ACCESS.begin("", NOW), NOW) for _ in range(2))
    assert mine is not None
    assert other is not None
    assert mine.csrf is not None
    assert from_form(mine, mine.csrf)
    for given_ in (None, "", "x", "ü", other.csrf):
        assert not from_form(mine, given_)
    assert TOKEN not in mine.csrf


def test_a_page_that_others_reach_needs_a_token() -> None:
    """On loopback one is made, and differs each time."""
    for host in ("0.0.0.0", "::", "10.1.2.3", "example.com", "localhost.example.com"):
        with pytest.raises(ConfigError, match="can be reached by others"):
            granted(None, host)
        assert granted(TOKEN, host) == (TOKEN, False)
    first, second = granted(None, "127.0.0.1"), granted(None, "::1")
    assert first[1]
    assert first != second
    assert len(first[0]) >= 32


@pytest.mark.parametrize("token", ["", "short", "0123456789 abcdef", "0123456789abcdeü", "0123456789abcde\n"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    """With what would make one; the token itself is not told."""
    with pytest.raises(ConfigError, match="openssl rand") as error:
        granted(token, "127.0.0.1")
    assert not token or token not in str(error.value)


def test_names_of_this_machine_are_told_from_others() -> None:
    """By what they are, and not by how they begin."""
    for host in ("127.0.0.1", "127.9.9.9", "[::1]", "::1", "localhost", "LOCALHOST.", "a.localhost"):
        assert is_loopback(host)
    for name in ("localhost", "localhost:8181", "127.0.0.1:80", "[::1]:8181", "[::1]"):
        assert is_named_loopback(name)
    for header in (
        None,
        "",
        "evil.com",
        "evil.com:8181",
        "127.0.0.1.evil.com",
        "localhost@evil.com",
        "[::2]",
    ):
        assert not is_named_loopback(header)
