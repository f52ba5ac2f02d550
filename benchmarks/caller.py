"""One connection that asks and waits for its answer, cheap enough that a benchmark can hold many in one process.

The rule that must not break: an answer that does not come is an error with a name, never a call that hangs.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.serving import Served

LIMIT_S = 60.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Caller:
    """Asks one URL over one keep-alive connection. Async context manager."""

    def __init__(self, served: Served) -> None:
        parts = urlsplit(served.url)
        self._address = (parts.hostname, parts.port)
        lines = [f"POST {parts.path} HTTP/1.1", "Host: x", "Content-Type: application/json", *served.headers]
        self._head = "\r\n".join([*lines, "Content-Length: "])

    async def __aenter__(self) -> Caller:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, body: bytes) -> Answer:
        """One call; raises ``OSError`` (``ConnectionError``, ``TimeoutError``) when it gets no answer."""
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        try:
            return await asyncio.wait_for(self._answer(), LIMIT_S)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"closed after {len(error.partial)} bytes of an answer") from error
        except asyncio.TimeoutError as error:
            raise TimeoutError(f"no answer in {LIMIT_S} s") from error

    async def _answer(self) -> Answer:
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, has_length, rest = head.lower().partition(b"content-length:")
        if has_length:
            body = await self._reader.readexactly(int(rest.split(b"\r\n")[0]))
        else:  # some peers send their errors in chunks
            body = await self._reader.readuntil(b"0\r\n\r\n")
        return Answer(int(head[9:12]), body)
