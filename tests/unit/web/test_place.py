"""Addresses of the page: every name has one, behind a prefix or not."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.web.place import Place, prefix

BARE, PROXIED = Place(), Place("/tq")


@given(st.text(min_size=1), st.text())
def test_any_name_is_one_part_of_an_address(name: str, task_id: str) -> None:
    """Whatever stands in it, and so is any id."""
    if any("\ud800" <= each <= "\udfff" for each in name + task_id):
        return
    found = urlsplit(PROXIED.to("queues", name, "dead", id=task_id))
    empty, tq, queues, part, dead = found.path.split("/")
    assert (empty, tq, queues, unquote(part), dead) == ("", "tq", "queues", name, "dead")
    assert parse_qs(found.query, keep_blank_values=True) == {"id": [task_id]}


def test_a_prefix_is_left_out_where_the_proxy_has_not_done_that() -> None:
    """And nothing that only begins like it."""
    assert [PROXIED.within(path) for path in ("/tq", "/tq/", "/tq/queues/a", "/queues/a", "/tqx", "/")] == [
        "", "/", "/queues/a", "/queues/a", "/tqx", "/",
    ]  # fmt: skip
    assert BARE.within("/queues/a") == "/queues/a"
    assert (BARE.to(), PROXIED.to(), PROXIED.to("find", id=None)) == ("/", "/tq/", "/tq/find")


def test_after_the_entrance_nobody_is_led_elsewhere() -> None:
    """An address of another site, however it is written, leads to the front."""
    assert PROXIED.back("/tq/queues/a?look=yes") == "/tq/queues/a?look=yes"
    for given_ in (
        None, "", "https://evil.com/", "//evil.com", "/\\evil.com", "/tq/\nx", "/other", "/tqx", "evil",
        "/tq/\\x",
    ):  # fmt: skip
        assert PROXIED.back(given_) == "/tq/"
    assert BARE.back("//evil.com") == "/"
    assert BARE.back("/queues/ü") == "/"


def test_a_prefix_is_a_path() -> None:
    """With or without a slash at its end; nothing else."""
    assert [prefix(text) for text in ("", "/", "/tq/", "/a/b-c.d")] == ["", "", "/tq", "/a/b-c.d"]
    for text in ("tq", "/a b", "//a", "/a?b", "https://x/", "/ü", '/"'):
        with pytest.raises(ConfigError, match="must be a path"):
            prefix(text)
