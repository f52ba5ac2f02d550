"""A gateway on a free port with an in-process dispatcher that echoes, and a raw client to talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from stoker.errors import AccessDenied, Canceled, Forbidden, NotFound
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.limits import GatewayLimits
from stoker_api.gateway.ports import Access, Route
from stoker_api.gateway.protocol import GatewayProtocol, make_protocol_class
from stoker_runtime.invocation import Invocation, Outcome

TOKEN = "good-token"
OWNER_TOKEN = "owner-token"


class EchoDispatcher:
    """Answers each call with its body at once, or holds calls until told to answer."""

    def __init__(self, answer: Callable[[Invocation], Outcome] | None = None) -> None:
        self.answer = answer or (lambda invocation: Outcome(invocation.body, invocation.content_type))
        self.is_holding = False
        self.held: list[Invocation] = []
        self.seen: list[Invocation] = []
        self.canceled: list[Invocation] = []
        self.credits = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.credited = asyncio.Event()

    def submit(self, invocation: Invocation) -> None:
        invocation.cancel = lambda: self._cancel(invocation)
        self.seen.append(invocation)
        self.arrived.set()
        if self.is_holding:
            self.held.append(invocation)
        else:
            invocation.finish(self.answer(invocation))

    def consumed(self, invocation: Invocation, chunks: int) -> None:
        self.credits += chunks
        self.credited.set()

    def release(self) -> None:
        """Answer all that is held."""
        held, self.held = self.held, []
        for invocation in held:
            invocation.finish(self.answer(invocation))

    def _cancel(self, invocation: Invocation) -> None:
        self.canceled.append(invocation)
        invocation.finish(Outcome(error=Canceled("the caller went away")))
        self.left.set()


@dataclass
class FakeRooms:
    """Router and authenticator in one."""

    dispatcher: EchoDispatcher
    resolved: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    is_auth_on: bool = False
    ended: list[Invocation] = field(default_factory=list)

    def resolve(self, path: bytes, sticky: bytes | None) -> Route:
        self.resolved.append((path, sticky))
        if b"/f/missing" in path:
            raise NotFound("no function default/missing", hint="stoker list shows what there is.")
        name = path.rpartition(b"/")[2].partition(b"@")[0].decode()
        return Route(namespace="default", name=name, revision=1, dispatcher=self.dispatcher, on_done=self.ended.append)

    def authenticate(self, token: bytes | None, namespace: str) -> Access:
        if not self.is_auth_on:
            return Access()
        if token == OWNER_TOKEN.encode():
            return Access(is_owner=True)
        if token != TOKEN.encode():
            raise AccessDenied("no valid token")
        if namespace != "default":
            raise Forbidden("the token does not cover this namespace")
        return Access()


@dataclass
class Running:
    """A server that is up."""

    port: int
    gateway: Gateway
    rooms: FakeRooms
    protocol: type[GatewayProtocol]
    server: uvicorn.Server

    @property
    def dispatcher(self) -> EchoDispatcher:
        return self.rooms.dispatcher

    async def exchange(self, data: bytes, *, answers: int = 1) -> list[Answer]:
        """Send ``data`` on a fresh connection and read that many answers."""
        async with self.connect() as peer:
            await peer.send(data)
            return [await peer.answer() for _ in range(answers)]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            yield Peer(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass


@dataclass
class Answer:
    """One HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


class Peer:
    """A raw client; every wait has a limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), 10)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        status_line, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        return int(status_line.split(" ")[1]), dict(line.split(": ", 1) for line in lines)

    async def answer(self, *, is_head: bool = False) -> Answer:
        status, headers = await self.head()
        body = b""
        if is_head or status in (100, 204, 304):
            pass
        elif "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        elif headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                body += piece
        else:
            body = await asyncio.wait_for(self.reader.read(), 10)
        return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        size = int(await asyncio.wait_for(self.reader.readline(), 10), 16)
        data = await asyncio.wait_for(self.reader.readexactly(size + 2), 10)
        return data[:-2]

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True


async def plain_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Stands for the control API: answers with the method, the path and the body that it got."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        more = message["more_body"]
    text = f"{scope['method']} {scope['path']} ".encode() + body
    headers = [(b"content-length", str(len(text)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": text, "more_body": False})


@asynccontextmanager
async def running_gateway(
    dispatcher: EchoDispatcher | None = None,
    *,
    is_auth_on: bool = False,
    limits: GatewayLimits | None = None,
    app: object = plain_app,
) -> AsyncIterator[Running]:
    """uvicorn with the gateway's protocol on 127.0.0.1, a port of the kernel's choice."""
    rooms = FakeRooms(dispatcher or EchoDispatcher(), is_auth_on=is_auth_on)
    gateway = Gateway(rooms, rooms, limits)
    protocol = make_protocol_class(gateway)
    config = uvicorn.Config(app, http=protocol, port=0, lifespan="off", log_config=None, access_log=False)  # type: ignore[arg-type]
    server = StartedServer(config)
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.is_up.wait(), 10)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(port, gateway, rooms, protocol, server)
    finally:
        if server.is_up.is_set():
            server.should_exit = True
            rooms.dispatcher.release()
            await asyncio.wait_for(task, 20)


class StartedServer(uvicorn.Server):
    """Says when it listens, and leaves the signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        self.is_up.set()

    def install_signal_handlers(self) -> None:
        """Not in a test."""


def post(path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of one POST; header names are written with ``_`` for ``-``."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
