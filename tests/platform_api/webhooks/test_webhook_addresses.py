"""Where webhooks may go: public addresses, and private ones that a setting names; no form of writing gets around it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest

from stoker.errors import InvalidOption
from stoker_api.webhooks.address import AddressRefused, checked_url, is_reachable, resolve
from stoker_api.webhooks.settings import WebhookSettings

STRICT = WebhookSettings()
LOOSE = WebhookSettings(allowed_networks="127.0.0.0/8, 10.1.0.0/16")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_reachable(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_reached(address: str) -> None:
    assert is_reachable(ipaddress.ip_address(address), ())


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("10.1.2.3", True), ("10.2.0.1", False), ("::ffff:10.1.2.3", True), ("::1", False)],
)
def test_a_setting_opens_the_networks_that_it_names_and_no_other(address: str, expected: bool) -> None:
    assert is_reachable(ipaddress.ip_address(address), LOOSE.networks) is expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.com/", "must begin with https"),
        ("https:///path", "must begin with https"),
        ("example.com", "must begin with https"),
        ("http://example.com/", "must begin with https"),
        ("https://user:secret@example.com/", "user or a password"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:99999/", "no URL"),
        ("https://exa mple.com/", "without spaces"),
        ("https://example.com/\r\nX-Evil: 1", "without spaces"),
        ("https://localhost/", "must not reach localhost"),
        ("https://hooks.localhost/", "must not reach"),
        ("https://127.0.0.1/", "must not reach 127.0.0.1"),
        ("https://127.1/", "must not reach 127.1"),
        ("https://2130706433/", "must not reach"),
        ("https://0x7f.1/", "must not reach"),
        ("https://0177.0.0.1/", "must not reach"),
        ("https://[::1]/", "must not reach ::1"),
        ("https://[::ffff:127.0.0.1]/", "must not reach"),
        ("https://[fe80::1%25eth0]/", "network interface"),
        ("https://169.254.169.254/latest/meta-data", "must not reach 169.254.169.254"),
        ("https://" + "a" * 3000, "at most 2048"),
    ],
)
def test_urls_that_go_nowhere_good_are_refused_at_once(url: str, message: str) -> None:
    with pytest.raises(AddressRefused, match=message):
        checked_url(url, STRICT)


async def test_a_name_with_one_private_address_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def rebinding(host: str, port: object, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("1.1.1.1", "10.0.0.7")]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    with pytest.raises(AddressRefused, match=r"rebind.example \(10.0.0.7\)"):
        await resolve(checked_url("https://rebind.example/", STRICT), STRICT)


def test_a_network_that_is_none_stops_the_start() -> None:
    with pytest.raises(InvalidOption, match=r"such as 10\.1\.0\.0"):
        WebhookSettings(allowed_networks="localhost")
