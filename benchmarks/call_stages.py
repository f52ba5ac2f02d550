"""The path of a call cut off after each of its phases: servers that do one phase more than the one before.

Each is the product's own code, with a stub where the path is cut off. ``call_phases`` measures what each costs.

    python -m benchmarks.call_stages STAGE      # prints its port, serves until it is stopped
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import cast

import uvicorn
import uvloop

from benchmarks.dispatcher_hot_path import echo_worker
from stoker.options import FunctionOptions
from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.ports import Access, Route
from stoker_api.gateway.protocol import make_protocol_class
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation, Outcome
from stoker_runtime.journal import Journal
from stoker_runtime.replica_link import ReplicaLink

LOOP, PARSE, ROUTE, ANSWER, DISPATCH = STAGES = ("loop", "parse", "route", "answer", "dispatch")
PATH, TOKEN = b"/f/echo", b"benchmark"
FIXED = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: application/json\r\ncontent-length: 1\r\n"
    b"server-timing: queue;dur=0.123, execute;dur=0.123, total;dur=0.123\r\nx-request-id: 0123456789ab-1\r\n\r\n1"
)


class LoopOnly(asyncio.Protocol):
    """A read, a write: what the kernel and the loop take."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(FIXED)


class InProcessEcho:
    """Answers at once, in place of a dispatcher."""

    def submit(self, invocation: Invocation) -> None:
        invocation.finish(Outcome(invocation.body, invocation.content_type))

    def consumed(self, invocation: Invocation, chunks: int) -> None:
        """Nothing streams here."""


class OneRoute:
    """Router and authenticator of one function and one token, as cheap as they can be: one look-up each."""

    def __init__(self, route: Route) -> None:
        self._access = {TOKEN: Access()}
        self._routes = {PATH: route}

    def authenticate(self, token: bytes | None, namespace: str) -> Access:
        assert token is not None
        return self._access[token]

    def resolve(self, path: bytes, sticky: bytes | None) -> Route:
        return self._routes[path]


def answer_fixed(cycle: InvokeCycle, invocation: Invocation | None = None) -> None:
    """The path is cut off: write an answer that is ready."""
    connection = cycle._connection
    connection.send_one(FIXED)
    cycle.response_complete = True
    connection.cycle_done(cycle, 0)


def answer_fixed_when_done(cycle: InvokeCycle, invocation: Invocation) -> None:
    """The same, after what an ended invocation always does."""
    cycle.observe(invocation)
    answer_fixed(cycle)


async def dispatcher_with_worker() -> tuple[Dispatcher, int]:
    """The real dispatcher over a real socket to a process that answers every frame at once, and its process id."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        os.closerange(3, theirs.fileno())
        os.closerange(theirs.fileno() + 1, 256)
        try:
            echo_worker(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.setblocking(False)
    dispatcher = Dispatcher(FunctionOptions(name="echo"), 1)
    dispatcher.attach(await ReplicaLink.open(ours, "r1", journal=Journal()))
    return dispatcher, pid


async def serve(stage: str) -> None:
    """Until SIGTERM."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    port, worker = sock.getsockname()[1], 0
    if stage == LOOP:
        server = await asyncio.get_running_loop().create_server(LoopOnly, sock=sock)
        print(port, worker, flush=True)
        await server.serve_forever()
        return
    echo: InProcessEcho | Dispatcher = InProcessEcho()
    if stage == DISPATCH:
        echo, worker = await dispatcher_with_worker()
    elif stage == PARSE:
        InvokeCycle.run = answer_fixed  # type: ignore[method-assign]
    elif stage == ROUTE:
        InvokeCycle._on_done = answer_fixed_when_done  # type: ignore[method-assign]
    rooms = OneRoute(Route(namespace="default", name="echo", revision=1, dispatcher=echo))
    config = uvicorn.Config(
        lambda: None, http=make_protocol_class(Gateway(rooms, rooms)), lifespan="off", log_level="error", factory=True
    )
    config.access_log = False
    print(port, worker, flush=True)
    await uvicorn.Server(config).serve(sockets=[sock])


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
