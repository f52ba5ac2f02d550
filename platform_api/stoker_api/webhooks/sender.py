"""One attempt to deliver: bounded in time and in what it reads, connected to the address that was checked.

The rule that must not break: redirects are not followed, proxies of the environment are not used, and whatever the
other side does, the attempt ends within its time.
"""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Final

import httpx

from stoker_api.webhooks.address import AddressRefused, checked_url, resolve
from stoker_api.webhooks.records import Heard
from stoker_api.webhooks.settings import WebhookSettings
from stoker_runtime.clock import Clock

EXCERPT_BYTES: Final = 2048
_BODY_WAIT_S: Final = 1.0
_ADDRESSES_TRIED: Final = 3


class Sender:
    """Async context manager; ``send`` any number of times at once."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Heard:
        """POST once; never raises for what the other side does."""
        began_s = self._clock.monotonic_s()
        status: int | None = None
        error = excerpt = ""
        retry_after_s: float | None = None
        try:
            response = await asyncio.wait_for(self._post(url, headers, body), self._settings.timeout_s)
            try:
                status = response.status_code
                retry_after_s = _seconds(response.headers.get("retry-after", ""))
                excerpt = await self._excerpt(response)
            finally:
                await response.aclose()
            if 300 <= status < 400:
                where = response.headers.get("location", "")[:200]
                error = f"it answered {status} to {where!r}; redirects are not followed"
            elif not 200 <= status < 300:
                error = f"it answered {status}"
        except asyncio.TimeoutError:
            error = f"no answer within {self._settings.timeout_s:g} s"
        except AddressRefused as refused:
            error = refused.detail
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        took_s = self._clock.monotonic_s() - began_s
        return Heard(status=status, error=error[:500], excerpt=excerpt, took_s=took_s, retry_after_s=retry_after_s)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        parts = checked_url(url, self._settings)
        addresses = await resolve(parts, self._settings)
        target = httpx.URL(url)
        named = {**headers, "host": target.netloc.decode("ascii")}
        last: httpx.TransportError | None = None
        client = await self._opened()
        for address in addresses[:_ADDRESSES_TRIED]:
            request = client.build_request(
                "POST",
                target.copy_with(host=str(address)),
                headers=named,
                content=body,
                extensions={"sni_hostname": target.raw_host.decode("ascii").strip("[]")},
            )
            try:
                return await client.send(request, stream=True)
            except httpx.ConnectError as error:
                last = error
        assert last is not None
        raise last

    async def _opened(self) -> httpx.AsyncClient:
        """Made at the first delivery, and not on the loop: reading the machine's certificates takes its time."""
        async with self._opening:
            if self._client is None:
                trusted = await asyncio.to_thread(ssl.create_default_context)
                self._client = httpx.AsyncClient(
                    verify=trusted,
                    follow_redirects=False,
                    trust_env=False,
                    timeout=self._settings.timeout_s,
                    # one connection each: hosts that share an address must not share a TLS session
                    limits=httpx.Limits(max_keepalive_connections=0),
                )
        return self._client

    async def _excerpt(self, response: httpx.Response) -> str:
        """The first bytes of the answer as they came, for the log; what is slow or longer is left."""
        found = bytearray()

        async def read() -> None:
            async for piece in response.aiter_raw(EXCERPT_BYTES):
                found.extend(piece[: EXCERPT_BYTES - len(found)])
                if len(found) >= EXCERPT_BYTES:
                    return

        try:
            await asyncio.wait_for(read(), _BODY_WAIT_S)
        except (asyncio.TimeoutError, httpx.HTTPError):
            pass  # its status is known, and that is what counts
        return found.decode("utf-8", "replace")


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None
