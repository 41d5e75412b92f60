"""The built-in handlers ``bearer`` and ``basic``: an Authorization header from the ini.

Any message may name any URL, so the ini says where the header goes: to the origin of base_url, by https
to the hosts of allow_hosts, and nowhere else. An Authorization that the task itself brings
(``metadata.headers``) stays.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

from taskqueue.errors import ConfigError
from taskqueue.handlers import Handler, Request
from taskqueue.request.http import target
from taskqueue.request.http.fault import RequestFailed
from taskqueue.request.http.guard import Guard
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task


def bearer(settings: QueueSettings) -> Handler:
    """Make the handler of bearer_token (RFC 6750); raises ConfigError where it is not set."""
    return Credentials(settings, "bearer_token", f"Bearer {settings.bearer_token}")


def basic(settings: QueueSettings) -> Handler:
    """Make the handler of basic_auth (RFC 7617); raises ConfigError where it is not set."""
    encoded = b64encode((settings.basic_auth or "").encode()).decode()
    return Credentials(settings, "basic_auth", f"Basic {encoded}")


class Credentials(Handler):
    """Adds an Authorization header to requests to the places that the ini names."""

    def __init__(self, settings: QueueSettings, key: str, authorization: str) -> None:
        super().__init__(settings)
        if not getattr(settings, key):
            msg = f"queue {settings.name}: handlers: the one for {key} needs a {key}"
            raise ConfigError(msg)
        if settings.base_url is None and not settings.allow_hosts:
            why = "needs base_url or allow_hosts, else a task could send it anywhere"
            msg = f"queue {settings.name}: {key}: {why}"
            raise ConfigError(msg)
        self._authorization = authorization
        self._home = None if settings.base_url is None else _origin(settings.base_url)
        self._guard = Guard(settings) if settings.allow_hosts else None
        self._is_ours = lru_cache(maxsize=256)(self._is_named)

    def prepare(self, request: Request, task: Task) -> Request:
        """Add the header where it may go."""
        del task
        if request.header("Authorization") is not None:
            return request
        try:
            ours = self._is_ours(*target.split(request.url)[:2])
        except RequestFailed:
            # The request itself is refused later, with a better error.
            return request
        return request.with_headers({"Authorization": self._authorization}) if ours else request

    def _is_named(self, scheme: str, authority: str) -> bool:
        origin = target.origin(scheme, authority)
        if origin == self._home:
            return True
        if self._guard is None or scheme != "https":
            return False
        try:
            self._guard.check_name(origin.host)
        except RequestFailed:
            return False
        return True


def _origin(url: str) -> target.Origin:
    return target.origin(*target.split(url)[:2])
