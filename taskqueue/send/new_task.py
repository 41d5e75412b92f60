"""A task that is to be sent: its fields are named here, and nowhere else on the way to its message."""

from __future__ import annotations

import inspect
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

from taskqueue.errors import InvalidTask
from taskqueue.task import decode as state
from taskqueue.task import fields
from taskqueue.task.message import Message, Publish
from taskqueue.topology.ladder import Way


class _Absent:
    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()
"""The payload that is not given: the receiver gets an empty object."""
_BODY_FIELDS = ("countdown", "eta", "max_retries", "expires", "roll_back", "metadata")
_SET_HERE = frozenset({state.DUE, state.FIRST_SEEN})
_SECONDS = frozenset({"countdown", "eta", "expires"})
Given = ParamSpec("Given")
Sent = TypeVar("Sent")
Sent_co = TypeVar("Sent_co", covariant=True)


@dataclass(frozen=True, slots=True)
class NewTask:
    """The arguments of `send`: the fields of the message (README), and what stands beside its body.

    Numbers are seconds, those of `eta` and `expires` since the epoch.
    """

    url: str
    queue: str = "default"
    """`send` takes an object or an array in this place for the payload."""
    _: KW_ONLY
    payload: Any = field(default=ABSENT, repr=False)
    countdown: float | timedelta | None = None
    eta: float | datetime | None = None
    max_retries: int | None = None
    roll_back: str | None = None
    expires: float | datetime | None = None
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    id: str | None = None
    priority: int | None = None
    headers: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> Self:
        """Make one of a mapping; raises TypeError for a name that `send` does not take."""
        _check_names(mapping)
        # What is missing is told as what is wrong in any other way.
        return cls(**{"url": None, **mapping})

    def document(self) -> dict[str, Any]:
        """Give the JSON object of its message; raises InvalidTask for a time that nobody can tell."""
        document: dict[str, Any] = {"url": self.url}
        if self.payload is not ABSENT:
            document["payload"] = self.payload
        for name in _BODY_FIELDS:
            if (value := getattr(self, name)) is not None:
                document[name] = _seconds(name, value) if name in _SECONDS else value
        return document

    def publish(self, way: Way, now: float) -> Publish:
        """Make its message, and its way onto the ladder; raises InvalidTask."""
        properties: dict[str, Any] = {
            "message_id": self.id or uuid.uuid4().hex,
            "content_type": "application/json",
            "timestamp": math.floor(now),
        }
        if self.priority is not None:
            properties["priority"] = self.priority
        body = state.encode(self.document())
        headers = {name: value for name, value in (self.headers or {}).items() if name not in _SET_HERE}
        task = state.decode(Message(body, headers, {"message_id": properties["message_id"]}), now=now)
        headers |= {state.DUE: task.due, state.FIRST_SEEN: task.first_seen}
        exchange, keys = way.route(task.due, now)
        return Publish(exchange, keys, Message(body, headers, properties))


def _seconds(name: str, value: object) -> object:
    """Make seconds of a time or a length of time; what is a number by then is checked with the rest."""
    if isinstance(value, timedelta) and name == "countdown":
        return value.total_seconds()
    if isinstance(value, timedelta):
        raise InvalidTask(name, "is a length of time, and must be a time: countdown takes a timedelta")
    if isinstance(value, datetime) and name == "countdown":
        raise InvalidTask(name, "is a time, and must be a length of time: eta takes a datetime")
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidTask(
                name,
                "has no time zone, so nobody knows when it is: "
                "write datetime.now(UTC), or value.astimezone() where it is this machine's time",
            )
        return value.timestamp()
    if not isinstance(value, (int, float, str)):
        # JSON has no word for it, so it would be refused without its name.
        fields.number({name: value}, name)
    return value


def _check_names(given: Mapping[str, Any]) -> None:
    if unknown := set(given).difference(NewTask.__slots__):
        msg = f"send takes no {', '.join(sorted(unknown))}"
        raise TypeError(msg)


def _made(kind: Callable[..., NewTask], given: tuple[Any, ...], named: dict[str, Any]) -> NewTask:
    """Read the arguments of a call; one that can't be the name of a queue is the payload, as with others."""
    match given:
        case (url, dict() | list() as payload) if "payload" not in named:
            return kind(url, payload=payload, **named)
        case _:
            return kind(*given, **named)


class _Send(Protocol[Given, Sent_co]):
    """What a caller sees of a method that sends."""

    @overload
    def __call__(self, url: str, payload: dict[str, Any] | list[Any], /, **fields: Any) -> Sent_co: ...

    @overload
    def __call__(self, *given: Given.args, **named: Given.kwargs) -> Sent_co: ...


class _Method(Protocol[Given, Sent_co]):
    def __get__(self, instance: object, owner: type | None = None) -> _Send[Given, Sent_co]: ...


def taking(
    kind: Callable[Given, NewTask],
) -> Callable[[Callable[[Any, NewTask], Sent]], _Method[Given, Sent]]:
    """Have a method that takes a NewTask take its fields, so that they need no second list."""

    def decorate(method: Callable[[Any, NewTask], Sent]) -> _Method[Given, Sent]:
        @wraps(method)
        def call(sends: Any, /, *given: Any, **named: Any) -> Sent:
            _check_names(named)
            return method(sends, _made(kind, given, named))

        itself = next(iter(inspect.signature(method).parameters.values()))
        parameters = [itself, *inspect.signature(kind).parameters.values()]
        call.__signature__ = inspect.signature(method).replace(parameters=parameters)  # type: ignore[attr-defined]
        return cast("_Method[Given, Sent]", call)

    return decorate
