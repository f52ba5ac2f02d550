"""One attempt against receivers that misbehave: it ends in time, follows nothing, reads little."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.webhook_receiver import receiver, says

from stoker_api.webhooks.sender import EXCERPT_BYTES, Sender
from stoker_api.webhooks.settings import WebhookSettings
from stoker_runtime.clock import SystemClock

LOOPBACK = WebhookSettings(allowed_networks="127.0.0.0/8", timeout_s=10)
HURRIED = WebhookSettings(allowed_networks="127.0.0.0/8", timeout_s=0.2)


async def hangs(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def dribbles(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
    await asyncio.Event().wait()


async def floods(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(2000):
        writer.write(b"x" * 65_536)
        await writer.drain()


async def talks_nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_message_arrives_with_its_headers_and_the_name_of_its_host() -> None:
    async with receiver(says(204, b"")) as found, Sender(LOOPBACK, SystemClock()) as sender:
        heard = await sender.send(f"{found.url}/hooks?a=1", {"webhook-id": "msg_1"}, b"{}")
    (message,) = found.messages
    assert heard.is_delivered
    assert (message.path, message.body) == ("/hooks?a=1", b"{}")
    assert message.headers["host"] == f"127.0.0.1:{found.port}"
    assert message.headers["webhook-id"] == "msg_1"


async def test_a_receiver_that_hangs_costs_its_time_and_no_more() -> None:
    async with receiver(hangs) as found, Sender(HURRIED, SystemClock()) as sender:
        heard = await sender.send(found.url, {}, b"{}")
    assert (heard.status, heard.error) == (None, "no answer within 0.2 s")


async def test_a_body_that_never_ends_does_not_undo_a_good_status() -> None:
    async with receiver(dribbles) as found, Sender(LOOPBACK, SystemClock()) as sender:
        heard = await sender.send(found.url, {}, b"{}")
    assert heard.is_delivered


async def test_of_a_huge_body_a_little_is_read() -> None:
    async with receiver(floods) as found, Sender(LOOPBACK, SystemClock()) as sender:
        heard = await sender.send(found.url, {}, b"{}")
    assert heard.is_delivered
    assert len(heard.excerpt) == EXCERPT_BYTES


async def test_a_redirect_is_told_and_not_followed() -> None:
    async with receiver() as other, receiver(says(307, location=other.url)) as found:
        async with Sender(LOOPBACK, SystemClock()) as sender:
            heard = await sender.send(found.url, {}, b"{}")
    assert not heard.is_delivered
    assert "redirects are not followed" in heard.error
    assert other.messages == []


async def test_a_receiver_may_say_when_to_come_again_or_that_it_has_gone() -> None:
    async with receiver(says(503, retry_after="120"), says(410)) as found:
        async with Sender(LOOPBACK, SystemClock()) as sender:
            busy, gone = [await sender.send(found.url, {}, b"{}") for _ in range(2)]
    assert (busy.status, busy.retry_after_s, busy.is_delivered) == (503, 120.0, False)
    assert gone.is_gone


@pytest.mark.parametrize("answer", [talks_nonsense, hangs_up], ids=["nonsense", "hangs-up"])
async def test_what_is_no_http_is_a_failure_like_any_other(answer: object) -> None:
    async with receiver(answer) as found, Sender(LOOPBACK, SystemClock()) as sender:  # type: ignore[arg-type]
        heard = await sender.send(found.url, {}, b"{}")
    assert heard.status is None
    assert heard.error


async def test_nobody_listening_is_a_failure() -> None:
    async with receiver() as found:
        pass
    async with Sender(LOOPBACK, SystemClock()) as sender:
        heard = await sender.send(found.url, {}, b"{}")
    assert "ConnectError" in heard.error


async def test_an_address_that_became_private_is_not_reached() -> None:
    async with receiver() as found, Sender(WebhookSettings(allow_http=True), SystemClock()) as sender:
        heard = await sender.send(found.url, {}, b"{}")
        named = await sender.send(f"http://localhost:{found.port}", {}, b"{}")
    assert "must not reach 127.0.0.1" in heard.error
    assert "must not reach localhost" in named.error
    assert found.messages == []


async def test_tls_is_checked_against_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name resolves once; the connection goes to that address, with the name in SNI and in the certificate."""
    context = _server_context(tmp_path, "hooks.example")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusted)
    seen: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: seen.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await says(200)(writer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    asked: list[object] = []
    real = loop.getaddrinfo

    async def resolver(host: object, *args: object, **more: object) -> object:
        if host in ("hooks.example", "other.example"):
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", 0))]
        return await real(host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", resolver)
    async with Sender(LOOPBACK, SystemClock()) as sender:
        good = await sender.send(f"https://hooks.example:{port}/x", {}, b"")
        wrong = await sender.send(f"https://other.example:{port}/x", {}, b"")
    server.close()
    await server.wait_closed()
    assert good.is_delivered, good.error
    assert "certificate verify failed" in wrong.error
    assert seen == ["hooks.example", "other.example"]
    assert asked == ["hooks.example", "other.example"]


def _server_context(folder: Path, name: str) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
