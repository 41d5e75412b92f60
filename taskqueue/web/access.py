"""Who may see and who may change: one token, in a header or behind a session. Pure: `now` is an argument.

A session is a cookie that says until when it lasts and who it is, signed by a key made of the token.
So it lasts over a restart with the same token, and a new token ends them all.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass

from taskqueue.errors import ConfigError

COOKIE = "taskqueue-web"
LASTS = 12 * 3600
"""Seconds that a session lasts."""
_LEAST = 16
"""Characters of a token that somebody has chosen."""
_LONGEST_NAME = 60
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has shown the token."""

    name: str | None
    """As they call themselves."""
    csrf: str | None = None
    """What a form has to hold, None for who sends the token itself."""


class Access:
    """The token, and the sessions that it opens. `open_counts`: counts are shown without it."""

    def __init__(self, token: str, *, open_counts: bool) -> None:
        self._token = token.encode()
        self.open_counts = open_counts

    def knows(self, token: str) -> bool:
        """Tell whether this is the token."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token)

    def bearer(self, header: str | None) -> Visitor | None:
        """Read the header ``Authorization``."""
        scheme, _, given = (header or "").partition(" ")
        return Visitor(None) if scheme.lower() == "bearer" and self.knows(given.strip()) else None

    def begin(self, name: str, now: float) -> str:
        """Begin a session, and give its cookie; `now` is in seconds since the epoch."""
        shown = "".join(each for each in name.strip() if each.isprintable())[:_LONGEST_NAME]
        told = base64.urlsafe_b64encode(shown.encode(errors="replace")).decode().rstrip("=")
        body = f"{int(now) + LASTS}.{secrets.token_urlsafe(12)}.{told}"
        return f"{body}.{self._mark('session', body)}"

    def session(self, cookie: str | None, now: float) -> Visitor | None:
        """Read the cookie of a session; None for one that is over, or that we have not made."""
        body, _, mark = (cookie or "").rpartition(".")
        if not cookie or not hmac.compare_digest(mark.encode(), self._mark("session", body).encode()):
            return None
        until, _, told = body.split(".")
        if int(until) <= now:
            return None
        name = base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)).decode()
        return Visitor(name or None, self._mark("form", cookie))

    def _mark(self, what: str, text: str) -> str:
        mark = hmac.digest(self._token, f"{what} {text}".encode(), "sha256")
        return base64.urlsafe_b64encode(mark).decode().rstrip("=")


def from_form(visitor: Visitor, given: str | None) -> bool:
    """Tell whether a form is one of ours, given to this session."""
    if visitor.csrf is None:
        return True
    return hmac.compare_digest((given or "").encode(errors="replace"), visitor.csrf.encode())


def granted(token: str | None, host: str) -> tuple[str, bool]:
    """Give the token for a page at `host`, and whether it was made for this run as none was given.

    Raises ConfigError where others reach it and none was given, or one that can be guessed.
    """
    if token is None:
        if not is_loopback(host):
            raise ConfigError(
                f"--listen: {host} can be reached by others: set TASKQUEUE_WEB_TOKEN or --token-file, or "
                "listen on 127.0.0.1"
            )
        return secrets.token_urlsafe(24), True
    if len(token) < _LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token must have {_LEAST} characters or more, printable ones of ASCII without a space: make "
            "one by `openssl rand -hex 24`"
        )
    return token, False


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine and nobody else reaches it, by its name alone."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def is_named_loopback(header: str | None) -> bool:
    """Tell whether the header ``Host`` names this machine: else a page of others may be behind a request.

    A name of theirs can be made to lead here (DNS rebinding), and their page then reads what ours says.
    """
    found = _HOST.fullmatch(header or "")
    return found is not None and is_loopback(found[1])
