"""Which URLs and addresses webhooks may reach: never the platform's own network, unless a setting names it.

The rule that must not break: what was checked is what is connected to. A name is resolved once per attempt, every
address that it has must be allowed, and the connection goes to one of them, not to the name again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from stoker.errors import InvalidInput
from stoker_api.webhooks.settings import Network, WebhookSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LONGEST_URL: Final = 2048
_HOW: Final = "STOKER_WEBHOOKS_ALLOWED_NETWORKS names private networks that may be reached."
_CARRIERS: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
"""IPv6 networks whose addresses hold an IPv4 address."""


class AddressRefused(InvalidInput):
    """A webhook must not go there."""

    code = "address_refused"
    status = 422


def checked_url(url: str, settings: WebhookSettings) -> SplitResult:
    """The URL's parts; raises ``AddressRefused`` for what can be refused without asking the network."""
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isascii() or any(ord(c) <= 32 for c in url):
        raise AddressRefused(f"a webhook's URL must be at most {LONGEST_URL} ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise AddressRefused(f"{url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressRefused(f"a webhook's URL must begin with https:// and a host, got {url!r}")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            "a webhook's URL must not hold a user or a password", hint="The signature proves the sender."
        )
    if parts.fragment:
        raise AddressRefused("a webhook's URL must not hold a fragment (#…)")
    if "%" in parts.hostname:
        raise AddressRefused(f"a webhook's URL must not name a network interface, got {parts.hostname!r}")
    literal = _literal(parts.hostname)
    if literal is not None:
        check_addresses(parts.hostname, [literal], settings)
    elif parts.hostname == "localhost" or parts.hostname.endswith((".localhost", ".localhost.")):
        check_addresses(parts.hostname, [ipaddress.IPv4Address("127.0.0.1")], settings)
    if parts.scheme == "http" and not settings.allow_http and not settings.networks:
        raise AddressRefused(
            f"a webhook's URL must begin with https://, got {url!r}",
            hint="STOKER_WEBHOOKS_ALLOW_HTTP=1 takes http:// too: what is sent can then be read on its way.",
        )
    return parts


async def resolve(parts: SplitResult, settings: WebhookSettings) -> tuple[Address, ...]:
    """The addresses behind a URL, all of them allowed; raises ``AddressRefused``, or ``OSError`` if there is none."""
    host = parts.hostname or ""
    literal = _literal(host)
    if literal is not None:
        found: list[Address] = [literal]
    else:
        rows = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = [ipaddress.ip_address(row[4][0]) for row in rows]
    addresses = list(dict.fromkeys(found))
    check_addresses(host, addresses, settings)
    is_private = any(_is_in(address, settings.networks) for address in addresses)
    if parts.scheme == "http" and not settings.allow_http and not is_private:
        raise AddressRefused(f"http:// is for allowed networks alone, and {host} is at {addresses[0]}")
    return tuple(addresses)


def check_addresses(host: str, addresses: Sequence[Address], settings: WebhookSettings) -> None:
    """Raise ``AddressRefused`` unless every address may be reached."""
    for address in addresses:
        if not is_reachable(address, settings.networks):
            where = host if host == str(address) else f"{host} ({address})"
            raise AddressRefused(f"webhooks must not reach {where}: it is no public address", hint=_HOW)


def is_reachable(address: Address, allowed: Sequence[Network]) -> bool:
    """Public, or in a network that a setting names. Pure."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if _is_in(address, allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address) and any(address in carrier for carrier in _CARRIERS):
        return False
    is_special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not is_special


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _literal(host: str) -> Address | None:
    """An address as the resolver would read it, with the odd forms that it takes: 127.1, 0x7f000001, 2130706433."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not host.rstrip(".").rpartition(".")[2][:1].isdigit():
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None
