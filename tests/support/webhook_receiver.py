"""A receiver of webhooks on the loopback, which answers as a test tells it and remembers what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Message:
    """What was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Its address and its memory."""

    url: str
    port: int
    messages: list[Message] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, count: int) -> list[Message]:
        """Until so many have come; bounded."""

        async def enough() -> None:
            while len(self.messages) < count:
                self.came.clear()
                await self.came.wait()

        await asyncio.wait_for(enough(), 20)
        return self.messages


def says(status: int, body: bytes = b"ok", **headers: str) -> Answer:
    """Answer so, at once."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


@contextlib.asynccontextmanager
async def receiver(*answers: Answer) -> AsyncIterator[Receiver]:
    """One that gives these answers in turn, the last one for ever."""
    left = list(answers or [says(200)])
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:]) if name
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            found.messages.append(Message(lines[0].split()[1], headers, body))
            found.came.set()
            await (left.pop(0) if len(left) > 1 else left[0])(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            open_ones.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = Receiver(f"http://127.0.0.1:{port}", port)
    try:
        yield found
    finally:
        server.close()
        for task in list(open_ones):
            task.cancel()
        await server.wait_closed()
