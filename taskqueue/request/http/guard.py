"""Where a request may go: patterns that its host must match, networks that its address must not lie in."""

from __future__ import annotations

import ipaddress
import socket
from fnmatch import fnmatchcase

from taskqueue.request.http.fault import RequestFailed
from taskqueue.settings import LINK_LOCAL, QueueSettings
from taskqueue.settings.addresses import DEFAULT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Linux takes an unspecified address for the machine itself.
_UNSPECIFIED: dict[Address, Address] = {
    ipaddress.IPv4Address("0.0.0.0"): ipaddress.IPv4Address("127.0.0.1"),  # noqa: S104 nothing binds to it
    ipaddress.IPv6Address("::"): ipaddress.IPv6Address("::1"),
}


class Guard:
    """The `allow_hosts` and `deny_networks` of one queue."""

    def __init__(self, settings: QueueSettings) -> None:
        self._patterns = settings.allow_hosts
        self._denied = tuple(map(ipaddress.ip_network, _named(settings)))

    def check_name(self, host: str) -> None:
        """Refuse a host that matches no pattern. Without patterns every host is allowed.

        A ``*`` stands for any characters, also dots: ``*.example.com`` matches every name below
        example.com, and not example.com itself.
        """
        name = host.rstrip(".")
        if self._patterns and not any(fnmatchcase(name, pattern) for pattern in self._patterns):
            raise RequestFailed(f"host not allowed: {host} (allow_hosts)")

    def open_by_default(self) -> list[str]:
        """List the default networks that this queue does not deny."""
        nets = map(ipaddress.ip_network, LINK_LOCAL)
        return [str(net) for net in nets if not any(_covers(denied, net) for denied in self._denied)]

    def check_literal(self, host: str) -> None:
        """Refuse a denied address that stands in the URL itself, for requests that a proxy resolves."""
        try:
            # It reads 2130706433 and 0x7f.1 as addresses, like resolvers do.
            text = host if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return
        if not self.permits(text):
            raise RequestFailed(f"address not allowed: {text} (deny_networks)")

    def permits(self, text: str) -> bool:
        """Tell whether an address lies in no denied network, also where IPv6 wraps an IPv4 address."""
        return not any(
            meaning in network
            for meaning in _meanings(ipaddress.ip_address(text))
            for network in self._denied
            if network.version == meaning.version
        )


def _named(settings: QueueSettings) -> list[str]:
    return [name for each in settings.deny_networks for name in (LINK_LOCAL if each == DEFAULT else (each,))]


def _covers(wide: Network, narrow: Network) -> bool:
    return wide.version == narrow.version and narrow.subnet_of(wide)  # type: ignore[arg-type] # the same version


def _meanings(address: Address) -> list[Address]:
    """List the addresses where a packet to this address may end."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
            found.append(low)
        found += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    return found + [_UNSPECIFIED[each] for each in found if each in _UNSPECIFIED]
