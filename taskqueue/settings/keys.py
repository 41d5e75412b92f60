"""The keys of taskqueue.ini: the values that each allows, and the errors for any other value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from taskqueue.errors import ConfigError
from taskqueue.settings import addresses, ini, values

Read = Callable[[str], Any]

GLOBAL_KEYS: Mapping[str, Read] = {
    "server": addresses.servers,
    "ca_file": values.optional(Path),
    "cert_file": values.optional(Path),
    "key_file": values.optional(Path),
    "queue_type": values.choice("quorum", "classic"),
    "resolution": values.resolution,
    "levels": values.whole(1, 12),
    "processes": values.whole(0, 1000),
    "metrics": values.optional(addresses.address),
    "log_format": values.choice("text", "json"),
    "management_url": values.optional(addresses.url("http", "https")),
    "history": values.optional(values.age),
    "history_bytes": values.size,
    "probe": values.on_off,
}
QUEUE_KEYS: Mapping[str, Read] = {
    "ladder": values.ladder,
    "base_url": values.optional(addresses.base_url),
    "concurrency": values.whole(1, 1000),
    "max_concurrency": values.optional(values.whole(1, 1000)),
    "per_host": values.optional(values.whole(1, 1000)),
    "rate": values.optional(values.rate),
    "retry_limit": values.optional(values.unlimited(values.whole(0, 2**31 - 1), None)),
    "min_backoff_seconds": values.number(0.001, 315_360_000),
    "max_backoff_seconds": values.number(0.001, 315_360_000),
    "max_doublings": values.unlimited(values.whole(0, 2**31 - 1), 2**31 - 1),
    "jitter": values.number(0, 1, unit=""),
    "timeout": values.number(0.001, 1500),
    "connect_timeout": values.number(0.001, 1500),
    "success_status": values.some(values.statuses),
    "permanent_status": values.statuses,
    "follow_redirects": values.yes_no,
    "allow_hosts": values.listed(addresses.host_pattern),
    "deny_networks": values.listed(addresses.network),
    "proxy": values.optional(addresses.url("http")),
    "request_ca_file": values.optional(Path),
    "request_cert_file": values.optional(Path),
    "request_key_file": values.optional(Path),
    "handlers": values.listed(values.handler),
    "signing_secret": values.listed(values.secret),
    "bearer_token": values.optional(values.token),
    "basic_auth": values.optional(values.login),
    "tracing": values.choice("off", "opentelemetry"),
    "delivery_limit": values.whole(1, 1_000_000),
    "log_success": values.on_off,
}
SECRET = frozenset({"server", "proxy", "signing_secret", "bearer_token", "basic_auth", "management_url"})
"""Keys whose value is in no message."""
OF_CONSUMERS = frozenset(
    {*GLOBAL_KEYS, *QUEUE_KEYS}
    - {"server", "ca_file", "cert_file", "key_file", "queue_type", "resolution", "levels"}
    - {"ladder", "handlers", "tracing", "history"}
)
"""Keys that nobody needs to send a task, or to cancel it: how it runs, and with which credentials."""
_FIELD = {"server": "servers"}
_PLAIN = re.compile(r"[-+]?[0-9.,]{1,10}")
_INLINE = re.compile(r"\s[#;]")


def read_keys(
    section: ini.Section, keys: Mapping[str, Read], source: str, ignore: Mapping[str, Read] | None = None
) -> dict[str, Any]:
    """Give the values of a section by the names of the fields; `keys` are those that it may have.

    Keys in `ignore` may stand there too, and are read elsewhere. Raises ConfigError that names file, line and
    key.
    """
    found = {}
    for key, value in section.values.items():
        if key in keys:
            found[_FIELD.get(key, key)] = _value(key, value, keys[key], f"{source}:{value.line}")
        elif key not in (ignore or {}):
            raise ConfigError(f"{source}:{value.line}: {key}: {_unknown(key, keys, ignore)}")
    return found


def _value(key: str, value: ini.Value, reader: Read, where: str) -> Any:
    try:
        return reader(value.text)
    except ValueError as error:
        hint = " (a comment must stand on a line of its own)" if _INLINE.search(value.written) else ""
        raise ConfigError(f"{where}: {key}: {error}{_got(key, value)}{hint}") from None


def _got(key: str, value: ini.Value) -> str:
    """Quote a number as it is written. Anything else may be a secret that stands behind the wrong key."""
    return f", got {value.written!r}" if key not in SECRET and _PLAIN.fullmatch(value.written) else ""


def _unknown(key: str, keys: Mapping[str, Read], ignore: Mapping[str, Read] | None) -> str:
    if ignore is None and key in GLOBAL_KEYS:
        return "is for all queues: write it before the first section"
    near = difflib.get_close_matches(key, [*keys, *(ignore or {})], n=1)
    if near:
        return f"is not a key; did you mean {near[0]}?"
    return f"is not a key; the keys are: {', '.join(keys)}"
