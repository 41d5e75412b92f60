"""Where the page is: its prefix behind a proxy, and the address of each part of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from taskqueue.errors import ConfigError

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_INSIDE = re.compile(r"/(?![/\\])[!-\[\]-~]*")


@dataclass(frozen=True, slots=True)
class Place:
    """The prefix under which a proxy shows the page, empty where there is none."""

    prefix: str = ""

    def to(self, *parts: str, **query: str | None) -> str:
        """Write the address of a part of the page: ``place.to("queues", "a/b", limit="10")``."""
        path = "/".join(quote(part, safe="") for part in parts)
        given = urlencode({name: value for name, value in query.items() if value is not None})
        return f"{self.prefix}/{path}{'?' if given else ''}{given}"

    def within(self, path: str) -> str:
        """Leave the prefix out of a path, where the proxy has not done that."""
        rest = path.removeprefix(self.prefix) if self.prefix else path
        return rest if rest != path and (not rest or rest.startswith("/")) else path

    def back(self, given: str | None) -> str:
        """Give where to go after the entrance: what was asked for, where that is a part of this page."""
        inside = given is not None and _INSIDE.fullmatch(given) and given.startswith(f"{self.prefix}/")
        return given if inside and given else self.to()


def prefix(text: str) -> str:
    """Read a prefix such as ``/taskqueue``; raises ConfigError."""
    found = text.rstrip("/")
    if not _PREFIX.fullmatch(found):
        raise ConfigError(f"--prefix: must be a path such as /taskqueue, got {text[:60]!r}")
    return found


def flat(fields: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out what is empty, as a form sends all of its fields."""
    return {name: value.strip() for name, value in fields.items() if value and value.strip()}
