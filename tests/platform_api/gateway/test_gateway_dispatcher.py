"""The gateway with the real dispatcher behind it, before any replica is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.support.gateway_server import EchoDispatcher, post, running_gateway

from stoker.errors import StartFailed
from stoker.options import FunctionOptions
from stoker_api.gateway.ports import Access, CallSink, Route
from stoker_runtime.clock import SystemClock
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation


class Cold:
    """Routes everything to one dispatcher, and tells when a call wants a replica."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        on_demand: Callable[[], None] = self.wanted.set
        options = FunctionOptions(name="echo", max_queue_depth=1)
        self.dispatcher = Dispatcher(options, 3, clock=SystemClock(), on_demand=on_demand)
        self.ended: list[Invocation] = []
        self.left = asyncio.Event()

    def resolve(self, path: bytes, sticky: bytes | None) -> Route:
        sink: CallSink = self.dispatcher
        return Route(namespace="default", name="echo", revision=3, dispatcher=sink, on_done=self.note)

    def note(self, invocation: Invocation) -> None:
        self.ended.append(invocation)
        if len(self.ended) == 2:
            self.left.set()

    def authenticate(self, token: bytes | None, namespace: str) -> Access:
        return Access()


async def test_a_held_call_sees_the_phases_of_its_start_and_then_its_failure() -> None:
    cold = Cold()
    async with running_gateway(EchoDispatcher()) as server, server.connect() as peer:
        server.gateway.router = cold
        await peer.send(post("/f/echo", b"1", Accept="text/event-stream"))
        await asyncio.wait_for(cold.wanted.wait(), 10)
        cold.dispatcher.start_phase("fork")
        assert (await peer.head())[0] == 200
        assert await peer.chunk() == b'event: phase\ndata: {"phase":"fork"}\n\n'
        cold.dispatcher.fail_waiting(StartFailed("no such module", start_phase="unpickle"))
        assert b'"code":"start_failed"' in await peer.chunk()
        assert server.gateway.counters.in_flight == 0


async def test_a_full_queue_is_answered_429_at_once_and_a_leaver_makes_room() -> None:
    cold = Cold()
    async with running_gateway(EchoDispatcher()) as server:
        server.gateway.router = cold
        async with server.connect() as first:
            await first.send(post("/f/echo", b"1"))
            await asyncio.wait_for(cold.wanted.wait(), 10)
            [answer] = await server.exchange(post("/f/echo", b"2"))
        assert (answer.status, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        await asyncio.wait_for(cold.left.wait(), 10)
        assert cold.dispatcher.queue_depth == 0
        assert server.gateway.counters.in_flight == 0


async def test_a_deadline_ends_a_held_call() -> None:
    cold = Cold()
    async with running_gateway(EchoDispatcher()) as server:
        server.gateway.router = cold
        [answer] = await server.exchange(post("/f/echo", b"1", Stoker_Timeout_Ms="5"))
    assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
    assert answer.json()["phase"] == "queue"
