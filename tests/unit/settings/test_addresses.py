"""Names of hosts: the same in a task's URL, in allow_hosts and in base_url."""

from __future__ import annotations

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.request.execute import Executor
from taskqueue.request.http import target
from taskqueue.request.http.fault import RequestFailed
from taskqueue.request.http.guard import Guard
from taskqueue.settings import QueueSettings, parse
from taskqueue.settings.addresses import base_url, host_name, host_pattern

NAMES = [
    ("faß.de", "xn--fa-hia.de"),
    ("FASS.de", "fass.de"),
    ("Bücher.example", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("\uff45\uff58ample\uff0ecom", "example.com"),
    ("σς.example", "xn--3xab.example"),
    ("日本語.example", "xn--wgv71a119e.example"),
    ("my_service", "my_service"),
]
NO_NAMES = [
    "",
    "a..b",
    "..ü",
    "\U0001f4a9.la",
    "\u0301a.de",
    "a\u200db.de",
    "ü" * 80,
    "\u2100.ü",
    "a*b",
    "ü b",
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_a_name_means_the_same_host_everywhere(text: str, name: str) -> None:
    """By IDNA 2008, in which ß, ς and the joiners are letters of their own."""
    assert host_name(text) == name
    assert target.origin("http", text).host == name
    assert (host_pattern(text), host_pattern(f"*.{text}.")) == (name, f"*.{name}")
    assert base_url(f"http://{text}/x") == f"http://{text}/x"
    assert target.origin("http", target.split(f"http://{text}/x")[1]).host == name


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_is_refused_everywhere(text: str) -> None:
    """And never made into another one."""
    with pytest.raises(ValueError, match="is not a host name"):
        host_name(text)
    with pytest.raises(RequestFailed, match="url refused"):
        target.origin("http", text)
    with pytest.raises(ValueError, match="must be hosts"):
        host_pattern(text)
    with pytest.raises(ValueError, match="must "):
        base_url(f"http://{text}/x")


def test_a_task_and_the_ini_agree_about_a_name() -> None:
    """allow_hosts lets faß.de through where it says so, and fass.de is another host."""
    executor = Executor(QueueSettings("q", allow_hosts=(host_pattern("faß.de"),)))
    assert executor._transport.host("http://faß.de/") == executor._transport.host("http://xn--fa-hia.de/")
    with pytest.raises(RequestFailed, match=r"host not allowed: fass\.de"):
        executor._transport.host("http://fass.de/")


AUTHORITIES = st.lists(
    st.sampled_from([*"[]:%.@-_~ ", "::1", "a", "ü", "80", "0", "65536", "99999", "\\", "v1.x", "10.0.0.1"])
).map("".join)
PATHS = st.sampled_from(["", "/", "/a b", "/ü/", "//", "/%2f", "/\\", "/\xa0", "/\u2028", "/\ufeff"])
# The ini holds no control characters.
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(AUTHORITIES | LINES, PATHS | LINES, st.sampled_from(["http://", "https://", "HTTP://", ""]))
def test_a_task_can_be_sent_to_every_base_url_that_is_taken(authority: str, path: str, scheme: str) -> None:
    """So that nothing has to be looked at again when a request is made."""
    try:
        taken = base_url(f"{scheme}{authority}{path}")
    except ValueError:
        return
    target.origin(*target.split(taken.rstrip("/"))[:2])


@given(st.text())
def test_any_text_is_a_name_or_none(text: str) -> None:
    """A name is ASCII, and the same when it is read again; nothing but ValueError is raised."""
    try:
        name = host_name(text)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9_.-]{1,254}", name)
    assert host_name(name) == name


@pytest.mark.parametrize(
    ("networks", "denied", "permitted"),
    [
        (("default",), ("169.254.169.254", "fe80::1", "fd00:ec2::254"), ("127.0.0.2", "10.0.0.1")),
        (("127.0.0.2/32", "default"), ("127.0.0.2", "169.254.169.254", "fd00:ec2::254"), ("127.0.0.1",)),
        (("127.0.0.2/32",), ("127.0.0.2",), ("169.254.169.254",)),
        ((), (), ("169.254.169.254",)),
    ],
)
def test_the_word_default_adds_the_default_networks(
    networks: tuple[str, ...], denied: tuple[str, ...], permitted: tuple[str, ...]
) -> None:
    """A list of one's own stands in place of the default, unless it names it."""
    text = ", ".join(networks)
    queue = parse(f"[q]\ndeny_networks = {text}", source="x.ini", environ={}).queues["q"]
    assert queue.deny_networks == networks
    guard = Guard(queue)
    assert not any(guard.permits(each) for each in denied)
    assert all(guard.permits(each) for each in permitted)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        (("127.0.0.2/32",), True),
        (("127.0.0.2/32", "169.254.0.0/24"), True),
        (("127.0.0.2/32", "default"), False),
        (("0.0.0.0/0", "::/0"), False),
        (QueueSettings("q").deny_networks, False),
        ((), False),
    ],
)
def test_a_list_that_leaves_metadata_services_open_is_told(
    networks: tuple[str, ...], caplog: pytest.LogCaptureFixture, *, told: bool
) -> None:
    """Not where there is no list at all: nobody takes that for more than the default."""
    with caplog.at_level(logging.WARNING):
        Executor(QueueSettings("q", deny_networks=networks))
    open_networks = "169.254.0.0/16, fe80::/10, fd00:ec2::254/128"
    assert [each.getMessage() for each in caplog.records] == told * [
        f"q: deny_networks leaves open {open_networks}, where clouds serve credentials: add the word default"
    ]
