"""Virtual hosts and users of a test's own, made through the management API of the broker."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

from sandbox.broker import Server

PASSWORD = "pa:ss/w@rd"


class Admin:
    """One virtual host of a broker, gone with everything in it after `close`."""

    def __init__(self, broker: Server) -> None:
        assert broker.management_url, "needs the management API: set TASKQUEUE_TEST_MANAGEMENT"
        api, server = urlsplit(broker.management_url), urlsplit(broker.url)
        self.management_url = broker.management_url
        self.vhost = f"t-{secrets.token_hex(4)}"
        self._base = f"{api.scheme}://{api.hostname}:{api.port}/api"
        self._headers = urllib3.make_headers(basic_auth=f"{api.username}:{api.password}")
        self._login = f"{server.username}:{server.password}"
        self._at = f"{server.hostname}:{server.port or 5672}"
        self._users: list[str] = []
        self._pool = urllib3.PoolManager()
        self._send("PUT", f"vhosts/{self.vhost}")
        self.allow(str(server.username), ".*", ".*", ".*")

    @property
    def url(self) -> str:
        """Give the AMQP URL of the virtual host, with every permission."""
        return f"amqp://{self._login}@{self._at}/{self.vhost}"

    def user(self, configure: str, write: str, read: str) -> str:
        """Make a user with these permission patterns and give the AMQP URL of it."""
        name = f"t-{secrets.token_hex(4)}"
        self._send("PUT", f"users/{name}", {"password": PASSWORD, "tags": ""})
        self._users.append(name)
        self.allow(name, configure, write, read)
        return f"amqp://{name}:{quote(PASSWORD, safe='')}@{self._at}/{self.vhost}"

    def allow(self, user: str, configure: str, write: str, read: str) -> None:
        """Give a user these permission patterns."""
        patterns = {"configure": configure, "write": write, "read": read}
        self._send("PUT", f"permissions/{self.vhost}/{user}", patterns)

    def policy(self, pattern: str, *, name: str = "test", operator: bool = False, **definition: Any) -> None:
        """Set a policy of the virtual host; the keyword arguments are its keys, with _ for -."""
        kind = "operator-policies" if operator else "policies"
        keys = {key.replace("_", "-"): value for key, value in definition.items()}
        body = {"pattern": pattern, "definition": keys, "apply-to": "queues" if operator else "all"}
        self._send("PUT", f"{kind}/{self.vhost}/{name}", body)

    def drop_policy(self, name: str = "test") -> None:
        """Take it away."""
        self._send("DELETE", f"policies/{self.vhost}/{name}")

    def policy_of(self, queue: str) -> dict[str, Any]:
        """Give the policy in effect on a queue, as its leader told some seconds ago."""
        found = self._send("GET", f"queues/{self.vhost}/{quote(queue, safe='')}").json()
        return dict(found.get("effective_policy_definition") or {})

    def limit(self, what: str, value: int, user: str | None = None) -> None:
        """Limit the virtual host or a user: ``max-connections``, ``max-queues``, ``max-channels``."""
        of = f"vhost-limits/{self.vhost}" if user is None else f"user-limits/{user}"
        self._send("PUT", f"{of}/{what}", {"value": value})

    def names(self, kind: str) -> set[str]:
        """List the `queues` or the `exchanges` but those that RabbitMQ makes itself."""
        found = self._send("GET", f"{kind}/{self.vhost}?columns=name").json()
        return {each["name"] for each in found if each["name"] and not each["name"].startswith("amq.")}

    def bindings(self) -> set[tuple[str, str, str]]:
        """List exchange, queue and routing key of each binding that a client made."""
        found = self._send("GET", f"bindings/{self.vhost}").json()
        return {
            (each["source"], each["destination"], each["routing_key"]) for each in found if each["source"]
        }

    def arguments(self, name: str, kind: str = "queues") -> dict[str, Any]:
        """Give the arguments that one of the `queues` or `exchanges` was declared with."""
        found = self._send("GET", f"{kind}/{self.vhost}/{quote(name, safe='')}").json()
        return dict(found["arguments"])

    def type_of(self, queue: str) -> str | None:
        """Give the type of a queue, None where there is none of that name."""
        found = self._send("GET", f"queues/{self.vhost}?columns=name,type").json()
        return next((each["type"] for each in found if each["name"] == queue), None)

    def close(self) -> None:
        """Delete it, and its users."""
        self._send("DELETE", f"vhosts/{self.vhost}")
        for user in self._users:
            self._send("DELETE", f"users/{user}")

    def _send(self, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        json = {} if body is None else {"json": body}
        answer = self._pool.request(method, f"{self._base}/{path}", headers=self._headers, **json)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.data[:200]!r}"
        return answer
