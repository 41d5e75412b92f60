"""What only RabbitMQ's management API tells: what exists, and which messages are neither ready nor gone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import urllib3

from taskqueue.errors import PublishFailed
from taskqueue.settings import Settings
from taskqueue.topology.names import timed

_OK = 200
_ALARMED = 503
_TIMEOUT = 5.0


WINDOW = 30
"""Seconds over which rates are taken. The API has them in steps of 5 s."""
_RATES = ("messages_details", "message_stats.ack_details", "message_stats.deliver_details")
_NO_RUNG = r"^(?!.*\.(wait|dead)(\.|$))"
"""What no name of a rung or a dead queue is like: their rates would take most of the time."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a queue, some seconds ago."""

    unacked: int
    """Handed out to a consumer, and not acked yet."""
    held: int
    """Expired, and not yet confirmed by the next queue."""
    ready: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """How quickly it goes in a work queue; a second, as a mean over `WINDOW`, None where nobody counts."""

    ready: int
    unacked: int
    coming: float | None
    """How many come in, from wherever."""
    settled: float | None
    """How many are acked."""
    handed_out: float | None
    """How many are handed out to consumers."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Arguments and policy of each queue and exchange by name; a policy is None where it is not told yet."""

    queues: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]]
    exchanges: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]]
    defined: Sequence[Mapping[str, Any]]
    """Every policy as it is set at this moment, which a queue may not have told yet."""
    of_operators: Sequence[Mapping[str, Any]]
    """Every operator policy."""


class Management:
    """Asks the API at `management_url`, with its own login or else with that of the first server.

    Never fails: what could not be read is None, and `fault` says why, without the password. The API is
    not asked again until `fault` is None.
    """

    def __init__(self, settings: Settings) -> None:
        server = urlsplit(settings.servers[0])
        self.fault: str | None = None
        self._vhost = quote(unquote(server.path[1:]) or "/", safe="")
        self._base: str | None = None
        if settings.management_url is None:
            return
        address = urlsplit(settings.management_url)
        login = address if address.username else server
        self._base = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
        credentials = f"{unquote(login.username or 'guest')}:{unquote(login.password or 'guest')}"
        self._headers = urllib3.make_headers(basic_auth=credentials)
        trust: dict[str, Any] = {} if settings.ca_file is None else {"ca_certs": str(settings.ca_file)}
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, **trust)

    @property
    def is_asked(self) -> bool:
        """Tell whether there is an address to ask."""
        return self._base is not None

    def counts(self) -> dict[str, Counts] | None:
        """Count what is not ready, by queue, some seconds ago; None where that is not known."""
        columns = "name,messages_ready,messages_unacknowledged,messages_dlx"
        found = self._get(f"queues/{self._vhost}?columns={columns}")
        if not isinstance(found, list):
            return None
        keys = ("messages_unacknowledged", "messages_dlx", "messages_ready")
        return {each["name"]: Counts(*(each.get(key, 0) for key in keys)) for each in found}

    def flows(self) -> dict[str, Flow] | None:
        """Tell how quickly it goes in each work queue; None where that is not known."""
        columns = ",".join(
            ("name,messages_ready,messages_unacknowledged", *(f"{r}.avg_rate" for r in _RATES))
        )
        ages = "&".join(f"{kind}_age={WINDOW}&{kind}_incr=10" for kind in ("msg_rates", "lengths"))
        found = self._matching(_NO_RUNG, f"columns={columns}&{ages}")
        if found is None:
            return None
        # Nothing is kept of a queue where nothing has happened, or of none at all.
        kept = any(_rate(each, _RATES[1]) is not None for each in found)
        return {each["name"]: _flow(each, kept=kept) for each in found}

    def wait_queues(self, ladders: Collection[str]) -> frozenset[str] | None:
        """Name the wait queues of these ladders that exist, None where that is not known."""
        which = "|".join(map(re.escape, ladders))
        found = self._matching(rf"^({which})\.wait\.[0-9]", "columns=name")
        if found is None:
            return None
        # The API does not look at the case.
        every = (each["name"] for each in found)
        return frozenset(name for name in every if (rung := timed(name)) and rung.ladder in ladders)

    def destinations(self, exchange: str) -> frozenset[str] | None:
        """Name what the keys of an exchange lead to, None where that is not known."""
        path = f"exchanges/{self._vhost}/{quote(exchange, safe='')}/bindings/source?columns=destination"
        found = self._get(path)
        return frozenset(each["destination"] for each in found) if isinstance(found, list) else None

    def queues(self) -> list[dict[str, Any]] | None:
        """List the queues of the virtual host, None where that is not known."""
        columns = "name,durable,arguments,messages,messages_persistent,messages_dlx,consumers"
        found = self._get(f"queues/{self._vhost}?columns={columns}")
        return found if isinstance(found, list) else None

    def exchanges(self) -> list[dict[str, Any]] | None:
        """List the exchanges of the virtual host, None where that is not known."""
        found = self._get(f"exchanges/{self._vhost}?columns=name,durable,type,arguments")
        return found if isinstance(found, list) else None

    def bindings(self) -> list[dict[str, Any]] | None:
        """List the bindings of the virtual host, None where that is not known."""
        found = self._get(f"bindings/{self._vhost}?columns=source,destination,destination_type,routing_key")
        return found if isinstance(found, list) else None

    def alarms(self) -> tuple[str, ...] | None:
        """Name each alarm, ``disk alarm on rabbit@one``; None where that is not known.

        It is what the nodes say at this moment. Over AMQP a broker tells of it only who has published
        (``rabbit_reader:should_send_blocked/1``, 3.10 to 4.3).
        """
        found = self._get("health/checks/alarms", known=(_OK, _ALARMED))
        if not isinstance(found, dict):
            return None
        return tuple(
            f"{str(each['resource']).removesuffix(' space')} alarm on {each['node']}"
            for each in found.get("alarms", ())
        )

    def config_files(self) -> dict[str, tuple[str, ...] | None] | None:
        """Give the configuration files that each running node reads; None where that is not known.

        Of a node that has just begun it is None too. It takes the user tag monitoring.
        """
        found = self._get("nodes", known=(_OK,))
        if not isinstance(found, list):
            return None
        files = {each["name"]: each.get("config_files") for each in found if each.get("running")}
        return {node: None if told is None else tuple(map(str, told)) for node, told in files.items()}

    def require_no_alarm(self) -> None:
        """Raise PublishFailed where the broker is known to have an alarm: before anything was published."""
        if alarms := self.alarms():
            raise PublishFailed(
                f"{', '.join(alarms)}: the broker takes no publishes, so nothing was changed: make room, see "
                "'rabbitmq-diagnostics alarms', and try again"
            )

    def listed(self) -> frozenset[tuple[str, str]] | None:
        """Give kind and name of each queue and exchange of the virtual host, None where that is not known."""
        found = set()
        for kind in ("queue", "exchange"):
            # The name alone comes from what the nodes share, and is no report of some seconds ago.
            every = self._get(f"{kind}s/{self._vhost}?columns=name")
            if not isinstance(every, list):
                return None
            found |= {(kind, each["name"]) for each in every}
        return frozenset(found)

    def policies(self) -> Policies | None:
        """Give what policies are in effect in the virtual host, None where that is not known.

        Of a queue it is what its leader said last, some seconds ago, with that of an operator policy.
        """
        queues = self._get(f"queues/{self._vhost}?columns=name,arguments,effective_policy_definition")
        exchanges = self._get(f"exchanges/{self._vhost}?columns=name,arguments,policy")
        defined = self._get(f"policies/{self._vhost}")
        operators = self._get(f"operator-policies/{self._vhost}", known=(_OK,))
        if not (isinstance(queues, list) and isinstance(exchanges, list) and isinstance(defined, list)):
            return None
        definitions = {each["name"]: each["definition"] for each in defined}
        return Policies(
            {each["name"]: (each.get("arguments") or {}, _definition(each)) for each in queues},
            {
                each["name"]: (each.get("arguments") or {}, definitions.get(each.get("policy")) or {})
                for each in exchanges
            },
            defined,
            operators if isinstance(operators, list) else [],
        )

    def _matching(self, pattern: str, query: str) -> list[Mapping[str, Any]] | None:
        """List the queues whose name matches a pattern, page by page; None where that is not known."""
        found: list[Mapping[str, Any]] = []
        page, pages = 1, 1
        while page <= pages:
            named = f"use_regex=true&name={quote(pattern)}&page_size={_PAGE}&page={page}"
            told = self._get(f"queues/{self._vhost}?{named}&{query}")
            if not isinstance(told, dict):
                return None
            found += told["items"]
            page, pages = page + 1, told["page_count"]
        return found

    def _get(self, path: str, *, known: tuple[int, ...] = ()) -> Any:
        """Read what is at a path; a status is a fault, unless others than 200 are `known`."""
        if self._base is None or self.fault is not None:
            return None
        try:
            answer = self._pool.request("GET", f"{self._base}/api/{path}", headers=self._headers)
            if known and answer.status not in known:
                return None
            if answer.status not in (known or (_OK,)):
                self.fault = f"the management API at {self._base} answers {answer.status}"
                return None
            return answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            self.fault = f"the management API at {self._base} {_told(error)}"
            return None


def _told(error: Exception) -> str:
    """Say what is wrong with an answer, or why there is none."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a timeout for urllib3
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return f"does not answer within {_TIMEOUT:g} s"
    if isinstance(error, ValueError):
        return "answers with something other than JSON"
    cause = error.__cause__ or error
    return f"can't be reached: {getattr(cause, 'strerror', None) or cause}"


def _flow(queue: Mapping[str, Any], *, kept: bool) -> Flow:
    change, settled, handed_out = (_rate(queue, each) for each in _RATES)
    if kept:
        settled, handed_out = settled or 0.0, handed_out or 0.0
    return Flow(
        ready=queue.get("messages_ready", 0),
        unacked=queue.get("messages_unacknowledged", 0),
        # What the broker dead-letters into a queue is in no rate of its publishes.
        coming=None if change is None or settled is None else max(0.0, change + settled),
        settled=settled,
        handed_out=handed_out,
    )


def _rate(queue: Any, path: str) -> float | None:
    """Find the mean rate at a path. The API writes an empty object as a list."""
    for key in (*path.split("."), "avg_rate"):
        queue = queue.get(key) if isinstance(queue, Mapping) else None
    return float(queue) if isinstance(queue, int | float) else None


def _definition(queue: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "effective_policy_definition" not in queue:
        return None
    # No policy may be an empty list.
    return queue["effective_policy_definition"] or {}
