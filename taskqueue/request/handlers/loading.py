"""Turns the names in ``handlers`` into handlers that are ready for one queue."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from taskqueue.errors import ConfigError, TaskqueueError
from taskqueue.handlers import Handler
from taskqueue.request.handlers.callback import Callback
from taskqueue.request.handlers.credentials import basic, bearer
from taskqueue.request.handlers.headers import Headers
from taskqueue.request.handlers.signing import Signing
from taskqueue.settings import QueueSettings

GROUP = "taskqueue.handlers"
BUILT_IN: dict[str, Callable[[QueueSettings], Handler]] = {
    "headers": Headers, "bearer": bearer, "basic": basic, "callback": Callback, "signing": Signing,
}  # fmt: skip


def load(settings: QueueSettings) -> tuple[tuple[str, Handler], ...]:
    """Make the handlers of a queue, in their order; raises ConfigError that names the handler at fault."""
    return tuple((name, _make(name, settings)) for name in settings.handlers)


def _make(name: str, settings: QueueSettings) -> Handler:
    where = f"queue {settings.name}: handlers: {name}"
    factory = BUILT_IN.get(name) or _find(name, where)
    try:
        handler = factory(settings)
    except TaskqueueError:
        raise
    except Exception as error:
        msg = f"{where}: can't be made: {type(error).__name__}: {error}"
        raise ConfigError(msg) from error
    if not isinstance(handler, Handler):
        msg = f"{where}: must be a class derived from taskqueue.handlers.Handler"
        raise ConfigError(msg)
    return handler


def _find(name: str, where: str) -> Callable[[QueueSettings], Any]:
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points and "." not in name and ":" not in name:
        known = ", ".join(sorted({*points, *BUILT_IN}))
        msg = f"{where}: no handler has this name; there are {known}; or write package.module:Class"
        raise ConfigError(msg)
    try:
        found = points[name].load() if name in points else _import(name)
    except Exception as error:
        msg = f"{where}: can't be loaded: {type(error).__name__}: {error}"
        raise ConfigError(msg) from error
    if not callable(found):
        msg = f"{where}: must be a class derived from taskqueue.handlers.Handler"
        raise ConfigError(msg)
    return found  # type: ignore[no-any-return]


def _import(path: str) -> Any:
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
