"""From a name to a connected socket: resolved with a deadline, checked, tried in parallel."""

from __future__ import annotations

import ipaddress
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from errno import EADDRNOTAVAIL, EINPROGRESS
from itertools import chain, zip_longest
from time import monotonic
from typing import Any

from taskqueue.request.http.fault import RequestFailed, SenderShort, check_descriptors, short_of
from taskqueue.request.http.guard import Guard
from taskqueue.request.http.limits import LimitedSocket

STAGGER = 0.25
"""Seconds until the next address is tried beside one that has not answered yet (RFC 8305, 5)."""

Found = tuple[socket.AddressFamily, Any]
Resolve = Callable[[str, int], Sequence[Found]]


def system_resolve(host: str, port: int) -> Sequence[Found]:
    """Ask the system's resolver; raises OSError (gaierror) where it knows no address."""
    # As bytes: a text would be encoded once more, by a codec that may still have to be loaded.
    rows = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in rows]


class Dialer:
    """Connects to hosts by name. It checks every address, and connects to the address that it has checked."""

    def __init__(self, guard: Guard, timeout: float, resolve: Resolve = system_resolve) -> None:
        self._guard = guard
        self._timeout = timeout
        self._resolve = resolve
        self._lookups: dict[tuple[str, int], Future[Sequence[Found]]] = {}
        self._lock = threading.Lock()

    def dial(self, host: str, port: int, ends: float, *, checked: bool = True) -> LimitedSocket:
        """Connect within `connect_timeout`, and before `ends` (monotonic) in any case.

        The socket's timeout is what is left of that time, for a TLS handshake. Raises
        RequestFailed, TimeoutError or another OSError.
        """
        ends = min(ends, monotonic() + self._timeout)
        found = self._find(host, port, ends)
        if not found:
            raise RequestFailed(f"name not resolved: {host}")
        allowed = [each for each in found if not checked or self._guard.permits(each[1][0])]
        if not allowed:
            raise RequestFailed(f"address not allowed: {found[0][1][0]} (deny_networks)")
        connected = race(_interleave(allowed), ends)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(max(ends - monotonic(), 0.001))
        return connected

    def _find(self, host: str, port: int, ends: float) -> Sequence[Found]:
        try:
            if _is_address(host):
                return self._resolve(host, port)
            return self._lookup(host, port).result(ends - monotonic())
        except TimeoutError as error:
            raise RequestFailed(f"name not resolved in time: {host}") from error
        except (OSError, UnicodeError) as error:
            if short_of(error):
                raise
            check_descriptors()
            raise RequestFailed(f"name not resolved: {host}") from error

    def _lookup(self, host: str, port: int) -> Future[Sequence[Found]]:
        """Start a look-up, or join the one that runs: getaddrinfo has no timeout.

        A dead name server holds the thread of the look-up, while each caller waits only for its own
        deadline. One look-up of a name at a time bounds how many threads there are.
        """
        key = (host, port)
        with self._lock:
            running = self._lookups.get(key)
            if running is not None:
                return running
            future = self._lookups[key] = Future()
        thread = threading.Thread(target=self._ask, args=(key, future), name=f"resolve {host}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            short = SenderShort("no more threads can be started")
            future.set_exception(short)
            with self._lock:
                del self._lookups[key]
            raise short from error
        return future

    def _ask(self, key: tuple[str, int], future: Future[Sequence[Found]]) -> None:
        try:
            found = self._resolve(*key)
        except Exception as error:  # noqa: BLE001 it is raised again by who waits
            future.set_exception(error)
        else:
            future.set_result(found)
        finally:
            with self._lock:
                del self._lookups[key]


def race(addresses: Sequence[Found], ends: float) -> LimitedSocket:
    """Try the addresses one after another, STAGGER apart, and keep the first that connects.

    A dead IPv6 address beside a live IPv4 address costs a quarter of a second and not a whole timeout.
    Raises the OSError of the last address, or TimeoutError at `ends`.
    """
    left = list(addresses)
    trying: set[LimitedSocket] = set()
    failure: OSError = TimeoutError("no address answered")
    next_start = 0.0
    # Not epoll, which needs a descriptor of its own.
    with selectors.PollSelector() as selector:
        try:
            while left or trying:
                now = monotonic()
                if now >= ends:
                    raise TimeoutError("timed out")
                if left and (now >= next_start or not trying):
                    next_start = now + STAGGER
                    failure = _start(left.pop(0), trying, selector) or failure
                    continue
                for key, _ in selector.select(min(ends, next_start if left else ends) - now):
                    candidate: LimitedSocket = key.data
                    selector.unregister(candidate)
                    trying.remove(candidate)
                    code = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        return candidate
                    candidate.close()
                    failure = _error(code)
        finally:
            for loser in trying:
                loser.close()
    raise failure


def _start(found: Found, trying: set[LimitedSocket], selector: selectors.BaseSelector) -> OSError | None:
    family, address = found
    try:
        candidate = LimitedSocket(family, socket.SOCK_STREAM)
    except OSError as error:  # no such family here, or no descriptor left
        return error
    candidate.settimeout(0)
    code = candidate.connect_ex(address)
    if code not in {0, EINPROGRESS}:
        candidate.close()
        if code == EADDRNOTAVAIL and _has_source(found):
            return SenderShort("no free local port: raise net.ipv4.ip_local_port_range")
        return _error(code)
    trying.add(candidate)
    selector.register(candidate, selectors.EVENT_WRITE, candidate)
    return None


def _has_source(found: Found) -> bool:
    """Tell a lack of ports from a lack of a local address: UDP has its own ports, and sends nothing here."""
    family, address = found
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(address) == 0


def _error(code: int) -> OSError:
    # OSError chooses its own leaf (ConnectionRefusedError …) by the number.
    return OSError(code, "connect failed")


def _interleave(found: Sequence[Found]) -> list[Found]:
    """Alternate between the families, beginning with the resolver's first choice (RFC 8305, 4)."""
    first = [each for each in found if each[0] == found[0][0]]
    other = [each for each in found if each[0] != found[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
