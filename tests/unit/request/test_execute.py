"""Attempts that no receiver is needed for: bad URLs, hostile texts, and the texts of errors."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue.request.execute import Executor
from taskqueue.request.handlers.rules import LONGEST_VALUE, header_text
from taskqueue.request.http import fault, target
from taskqueue.request.http.fault import RequestFailed
from taskqueue.request.http.guard import Guard
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Failed, Task


def task(url: str, **changes: Any) -> Task:
    """Make a task."""
    values: dict[str, Any] = {
        "id": "id-1", "url": url, "content": b"{}", "due": 0, "runs": 0, "max_retries": None,
        "expires": None, "roll_back": None, "queue": None, "metadata": {}, "first_seen": 0,
        "error": None, "failed": None, "unknown": (),
    }  # fmt: skip
    return Task(**{**values, **changes})


def nowhere(_host: str, _port: int) -> list[Any]:
    """Know no name, so that no request leaves."""
    raise OSError


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path"),
    [
        ("http://a", "http", "a", 80, "/"),
        ("HTTPS://A.Example:8443/x?y=1#z", "https", "a.example", 8443, "/x?y=1"),
        ("http://a?b", "http", "a", 80, "/?b"),
        ("http://a#b", "http", "a", 80, "/"),
        ("http://a:/x", "http", "a", 80, "/x"),
        ("http://a./x", "http", "a.", 80, "/x"),
        ("http://my_service:8000//x/../y", "http", "my_service", 8000, "//x/../y"),
        ("http://[2001:DB8::1]:81/", "http", "2001:db8::1", 81, "/"),
        ("http://bücher.example/ä?ö", "http", "xn--bcher-kva.example", 80, "/%C3%A4?%C3%B6"),
        ("http://faß.de/x", "http", "xn--fa-hia.de", 80, "/x"),
        ("http://STRAẞE.example/", "http", "xn--strae-oqa.example", 80, "/"),
        ("http://ﬀ.Bücher。example./", "http", "ff.xn--bcher-kva.example.", 80, "/"),
        ("http://my_service.bücher.example/", "http", "my_service.xn--bcher-kva.example", 80, "/"),
        ("http://हिन्दी.example/", "http", "xn--j2bd4cyah0f.example", 80, "/"),
        ("http://xn--fa-hia.de/", "http", "xn--fa-hia.de", 80, "/"),
        ("http://a/%2f%zz", "http", "a", 80, "/%2f%zz"),
        ('http://a/"<>^`{}', "http", "a", 80, "/%22%3C%3E%5E%60%7B%7D"),
        ("http://a/x\\y", "http", "a", 80, "/x%5Cy"),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, host: str, port: int, path: str) -> None:
    """Host and port are normal, the path is as it was but for what HTTP can't carry."""
    found_scheme, authority, found_path = target.split(url)
    assert (found_scheme, found_path) == (scheme, path)
    assert target.origin(found_scheme, authority) == target.Origin(scheme, host, port)


@pytest.mark.parametrize(
    "url",
    [
        "", "a", "/a", "//a/b", "ftp://a/", "file:///etc/passwd", "http:a", "http:/a", "http://",
        "http:///x", "http://?x", "http://user@a/", "http://user:pass@a/", "http://a@b@c/",
        "http://a\\@b/", "http://a\\b/", "http://a b/", "http://a/b c", "http://a/\r\nX: y",
        "http://a\r\n/", "http://a/\x00", "http://a/\x7f", "http://a\t/", " http://a/", "http://a/\u2028",
        "http://a/\ud800", "http://a:0/", "http://a:65536/", "http://a:1e1/", "http://a:-1/",
        "http://a:80:80/", "http://a:\uff18\uff10/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[]/",
        "http://[fe80::1%25eth0]/", "http://[v1.x]/", "http://a..b/", "http://.a/", "http://a%2eb/",
        "http://a%00/", "http://" + "a" * 64 + "/", "http://" + "a." * 130 + "/", "http://ü" + "ü" * 80 + "/",
        "http://\U0001f4a9.example/", "http://\u0301a.example/", "http://a\u200db.example/", "http://ü..a/",
        "http://\u2100.example/", "http://\u2488ü.example/",
        "http://a*/", "http://$(a)/", "http://a;b/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_an_unusual_url_fails_the_attempt(url: str) -> None:
    """Whatever could be read in two ways is read in none."""
    result = Executor(QueueSettings("q"), resolve=nowhere).run(task(url), queue="q")
    assert result.status is None
    assert result.error is not None
    assert result.error.startswith("url refused: ")
    assert "pass@" not in result.error


TEXT = st.text() | st.text(alphabet=string.printable) | st.text(alphabet="\r\n: %\ud800é\x00")


@settings(deadline=None)
@given(
    url=st.builds(lambda start, rest: start + rest, st.sampled_from(["", "http://", "http://a/", "/"]), TEXT),
    text=TEXT,
    metadata=st.dictionaries(
        st.sampled_from(["method", "headers", "x"]),
        TEXT | st.integers() | st.dictionaries(TEXT, TEXT | st.none()) | st.lists(TEXT),
    ),
)
def test_nothing_in_a_task_raises(url: str, text: str, metadata: dict[str, Any]) -> None:
    """Any text anywhere gives a result with a short printable error."""
    executor = Executor(QueueSettings("q", base_url="http://base.example"), resolve=nowhere)
    attempt = task(url, id=text, error=text, runs=1, failed=Failed(text, text, text), metadata=metadata)
    result = executor.run(attempt, queue=text)
    assert result.status is None
    assert result.error is not None
    assert "unexpected" not in result.error
    assert result.error.isprintable()
    assert len(result.error) <= fault.LONGEST


@given(TEXT)
def test_any_text_becomes_fit_for_a_header(text: str) -> None:
    """Printable ASCII of bounded length, and what was so already is unchanged."""
    value = header_text(text)
    assert value.isascii()
    assert value.isprintable()
    assert len(value) <= LONGEST_VALUE
    if text.isascii() and text.isprintable() and text == text.strip():
        assert value == text[:LONGEST_VALUE]


@given(TEXT)
def test_any_text_becomes_fit_for_a_line(text: str) -> None:
    """One printable line of bounded length."""
    line = fault.line(text * 50)
    assert line.isprintable()
    assert len(line) <= fault.LONGEST


def test_a_line_holds_no_credentials() -> None:
    """What stands before an @ in a URL is left out."""
    assert fault.line("no amqp://user:pa:ss@host/ and http://x:y@z") == "no amqp://host/ and http://z"


def test_a_path_without_base_url_fails_the_attempt() -> None:
    """There is nothing to join it to."""
    result = Executor(QueueSettings("q")).run(task("/a"), queue="q")
    assert result.error == "url refused: '/a' is a path, and the queue has no base_url"


def test_a_name_without_addresses_is_not_resolved() -> None:
    """A resolver that knows the name and no address for it is no success."""
    result = Executor(QueueSettings("q"), resolve=lambda _host, _port: []).run(task("http://a/"), queue="q")
    assert result.error == "name not resolved: a"


@pytest.mark.parametrize(
    ("address", "network", "permitted"),
    [
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", False),
        ("64:ff9b::a01:203", "10.0.0.0/8", False),
        ("2002:a01:203::1", "10.0.0.0/8", False),
        ("::10.1.2.3", "10.0.0.0/8", False),
        ("0.0.0.0", "127.0.0.0/8", False),
        ("::", "::1/128", False),
        ("::ffff:0.0.0.0", "127.0.0.0/8", False),
        ("::1", "0.0.0.0/8", True),
        ("fe80::1%1", "fe80::/10", False),
        ("2001:db8::1", "10.0.0.0/8", True),
    ],
)
def test_addresses_are_unwrapped(address: str, network: str, *, permitted: bool) -> None:
    """An IPv4 address within an IPv6 one is subject to IPv4 networks."""
    assert Guard(QueueSettings("q", deny_networks=(network,))).permits(address) is permitted


def test_an_origin_is_written_for_people_and_for_urls() -> None:
    """IPv6 gets its brackets, and a scheme's own port is left out of URLs."""
    origin = target.Origin("https", "::1", 443)
    assert (origin.where, origin.url) == ("[::1]:443", "https://[::1]")
    origin = target.Origin("http", "a", 443)
    assert (origin.where, origin.url) == ("a:443", "http://a:443")


def test_a_refused_redirect_keeps_the_status() -> None:
    """An error of the request side is one line, cut to length, with the status that came before."""
    failure = RequestFailed("x\n" * 400, 302)
    assert failure.status == 302
    assert len(failure.error) == fault.LONGEST
    assert failure.error.startswith("x\\nx\\n")
