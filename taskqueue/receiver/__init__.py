"""The other side: tell whether a request comes from taskqueue, and drop a task that was done already.

For one application or view: `receiver.wsgi`, `receiver.asgi`, `receiver.django`, `receiver.flask`. Only the
standard library is imported here; signatures are those of https://www.standardwebhooks.com/.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

PREFIX = "whsec_"
TOLERANCE = 300.0
"""Seconds that a signature may be old, or ahead of this machine's clock."""
LARGEST_BODY = 16 * 2**20
"""What a message can hold at most; a longer body is nobody's task, and is not read."""
DUPLICATE = b"done before"
"""The answer, with status 200, to a task that was done."""


class NotGenuine(Exception):
    """A request that is not signed with one of our secrets, or not of these minutes."""


class NotDone(Exception):
    """Raised in the block of a store where the work failed, so that the id is not kept."""


class Store(Protocol):
    """Where the ids of what was done are kept: given by the application, best in the database of the work.

    ``with store.once(id) as new`` keeps the id if the block ends, and not if it raises; where somebody
    else is at the same id just now, it waits for that, or raises. In a transaction with the work it is exact.
    """

    def once(self, task_id: str) -> AbstractContextManager[bool]:
        """Give True for an id that was not kept yet."""


class AsyncStore(Protocol):
    """The same for asyncio."""

    def once(self, task_id: str) -> AbstractAsyncContextManager[bool]:
        """Give True for an id that was not kept yet."""


class Verifier:
    """Verifies requests by one of these secrets (``whsec_…``), several while they change."""

    def __init__(
        self,
        secrets: str | Iterable[str],
        *,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given = [secrets] if isinstance(secrets, str) else list(secrets)
        if not given:
            msg = "no secret: name that of signing_secret in the ini"
            raise ValueError(msg)
        self._keys = [_key(secret) for secret in given]
        self._tolerance = tolerance
        self._clock = clock

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """Give the id of a genuine task; `body` as it came. Raises NotGenuine."""
        lowered = {name.lower(): value for name, value in headers.items()}
        task_id, stamp = lowered.get("webhook-id", ""), lowered.get("webhook-timestamp", "")
        if not task_id or not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= len(str(2**63))):
            raise NotGenuine("not signed: the queue needs signing in handlers, and a signing_secret")
        if abs(self._clock() - int(stamp)) > self._tolerance:
            raise NotGenuine("signed too long ago, or one of the two clocks is wrong")
        signed = f"{task_id}.{stamp}.".encode(errors="replace") + body
        given = [each.encode(errors="replace") for each in lowered.get("webhook-signature", "").split()]
        expected = [_signature(key, signed) for key in self._keys]
        # Every pair is compared, so that time tells nothing of which one it was.
        matches = [hmac.compare_digest(one, other) for one in expected for other in given]
        if not any(matches):
            raise NotGenuine("signed with another secret, or changed on its way")
        return task_id


def check_size(size: int) -> None:
    """Raise NotGenuine for a body that no task can have."""
    if size > LARGEST_BODY:
        msg = f"a body of over {LARGEST_BODY} bytes is no task"
        raise NotGenuine(msg)


def check_done(status: int) -> None:
    """Raise NotDone unless an answer says that the work was done."""
    if not 200 <= status < 300:  # noqa: PLR2004 the class of success (RFC 9110, 15.3)
        raise NotDone


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (AttributeError, TypeError, ValueError, binascii.Error):
        key = b""
    if not key:
        msg = f"a secret must be {PREFIX} and base64 (its value is not shown)"
        raise ValueError(msg) from None
    return key
