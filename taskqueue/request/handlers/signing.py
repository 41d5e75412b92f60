"""The built-in handler ``signing``: Standard Webhooks signatures with the queue's signing_secret.

Specification: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
Several secrets give several signatures, so that receivers can change to a new secret in their own
time. The handler signs the request as it finds it: name it last in ``handlers``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable

from taskqueue.errors import ConfigError
from taskqueue.handlers import Handler, Request
from taskqueue.request.handlers.rules import header_text
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task

PREFIX = "whsec_"


class Signing(Handler):
    """Adds ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``."""

    def __init__(self, settings: QueueSettings, clock: Callable[[], float] = time.time) -> None:
        if not settings.signing_secret:
            msg = f"queue {settings.name}: handler signing needs a signing_secret"
            raise ConfigError(msg)
        self._keys = tuple(_key(secret, settings.name) for secret in settings.signing_secret)
        self._clock = clock

    def prepare(self, request: Request, task: Task) -> Request:
        """Sign id, time and body."""
        name = header_text(task.id)
        timestamp = str(int(self._clock()))
        signed = b".".join((name.encode(), timestamp.encode(), request.body or b""))
        return request.with_headers(
            {
                "webhook-id": name,
                "webhook-timestamp": timestamp,
                "webhook-signature": " ".join(_signature(key, signed) for key in self._keys),
            }
        )


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key(secret: str, queue: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        msg = f"queue {queue}: signing_secret must be {PREFIX} and base64 (its value is not shown)"
        raise ConfigError(msg)
    return key
