"""The page of `taskqueue web`, served in the process of a test, and who visits it as a browser does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import urllib3

from taskqueue.settings import Settings
from taskqueue.web.access import Access
from taskqueue.web.place import Place
from taskqueue.web.serve import listen, serve
from tests.support.stage import PATIENCE, eventually

TOKEN = "0123456789abcdef0123"


class Page(HTMLParser):
    """What a page says: its text, its cells by their labels, its links and forms."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.status, self.html, self.headers = status, text, headers
        self.links: list[str] = []
        self.tags: list[str] = []
        self.csrf = ""
        self.refreshes = False
        self._texts: list[str] = []
        self._cell: str | None = None
        self.cells: dict[str, list[str]] = {}
        self.feed(text)

    @property
    def text(self) -> str:
        """All of its text, with single blanks."""
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what it is."""
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "a":
            self.links.append(given.get("href") or "")
        if given.get("name") == "csrf":
            self.csrf = given.get("value") or ""
        if given.get("http-equiv") == "refresh":
            self.refreshes = True
        if tag in {"td", "dd"}:
            self._cell = given.get("data-label") or self.text.rpartition(" ")[2]
            self.cells.setdefault(self._cell, []).append("")

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a cell."""
        if tag in {"td", "dd"}:
            self._cell = None

    def handle_data(self, data: str) -> None:
        """Note its text."""
        self._texts.append(data)
        if self._cell is not None:
            self.cells[self._cell][-1] += data.strip()


class Visitor:
    """Asks for pages at a base address, and keeps its cookie."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookie = ""
        self._pool = urllib3.PoolManager(timeout=PATIENCE, retries=False)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Make one request, and follow nothing."""
        given = {**({"Cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        answer = self._pool.request(method, self.base + path, body=body, headers=given, redirect=False)
        if told := answer.headers.get("Set-Cookie"):
            self.cookie = told.partition(";")[0]
        return answer

    def get(self, path: str) -> Page:
        """Get a page, and again while it says that it is not ready."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._page("GET", path)).refreshes and time.monotonic() < deadline:
            pass
        assert not found.refreshes, found.text
        return found

    def send(self, path: str, **fields: str) -> Page:
        """Send a form, and get the page that follows."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", path, urlencode(fields).encode(), kind)
        if answer.status == 303:
            return self.get(answer.headers["Location"].removeprefix(self.prefix))
        return _read(answer)

    @property
    def prefix(self) -> str:
        """Give the prefix of the page."""
        return re.sub(r"^https?://[^/]*", "", self.base)

    def login(self, name: str = "", token: str = TOKEN) -> Page:
        """Log in."""
        return self.send("/login", token=token, name=name)

    def order(self, path: str, **fields: str) -> tuple[Page, Page]:
        """Ask for an act and confirm it: gives the page that asks, and that of its result."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"csrf": self.csrf(), **fields}).encode()
        answer = self.ask("POST", path, body, kind)
        assert answer.status == 303, _read(answer).text
        where = answer.headers["Location"].removeprefix(self.prefix)
        asked = self.get(where)
        return asked, self.send(where, csrf=asked.csrf)

    def csrf(self) -> str:
        """Give what a form of this session has to hold."""
        return self.get("/schedules").csrf

    def _page(self, method: str, path: str) -> Page:
        return _read(self.ask(method, path))


def _read(answer: urllib3.BaseHTTPResponse) -> Page:
    return Page(answer.status, answer.data.decode(), answer.headers)


@contextmanager
def served(
    settings: Settings, *, token: str = TOKEN, made: bool = False, prefix: str = ""
) -> Iterator[Visitor]:
    """Serve the page of some settings on a free port of loopback while the context lasts."""
    stops: list[Callable[[], object]] = []
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(
            target=serve,
            args=(settings, Access(token, open_counts=made), Place(prefix), listening),
            kwargs={"ready": stops.append},
        )
        thread.start()
        visitor = Visitor(f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}")
        try:
            yield visitor
        finally:
            eventually(lambda: bool(stops), "the page has begun")
            stops[0]()
            thread.join(PATIENCE)
            assert not thread.is_alive()


def json_of(answer: urllib3.BaseHTTPResponse) -> Any:
    """Read the JSON of an answer."""
    return answer.json()
