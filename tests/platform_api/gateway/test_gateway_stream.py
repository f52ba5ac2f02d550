"""A call watched as server-sent events, and what a slow or leaving reader does to it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.support.gateway_server import OWNER_TOKEN, TOKEN, EchoDispatcher, Peer, post, running_gateway

from stoker.errors import FunctionError, Overloaded
from stoker_api.gateway.event_stream import event
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.invocation import Invocation, Outcome

WATCH = {"Accept": "text/event-stream"}


def held() -> EchoDispatcher:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    return dispatcher


async def first_call(dispatcher: EchoDispatcher) -> Invocation:
    await asyncio.wait_for(dispatcher.arrived.wait(), 10)
    return dispatcher.seen[0]


async def read_event(peer: Peer) -> tuple[str, dict[str, object]]:
    name, data, *_ = (await peer.chunk()).decode().split("\n")
    return name.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


def chunk(call: Invocation, item: bytes, content_type: str = "") -> None:
    assert call.on_chunk is not None
    call.on_chunk(item, content_type)


async def test_phases_items_and_the_end_arrive_as_they_happen() -> None:
    dispatcher = held()
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", **WATCH))
        call = await first_call(dispatcher)
        assert call.on_phase is not None
        call.on_phase("fork")
        status, headers = await peer.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert await read_event(peer) == ("phase", {"phase": "fork"})
        chunk(call, b'{"token":"a"}')
        assert await read_event(peer) == ("item", {"token": "a"})
        chunk(call, b"plain\ntext", "text/plain")
        assert await read_event(peer) == ("item", "plain\ntext")
        call.finish(Outcome(streamed=True))
        name, data = await read_event(peer)
        assert (name, list(data)) == ("end", ["receipt"])
        assert await peer.chunk() == b""
        await peer.send(post("/v1/x"))
        assert (await peer.answer()).status == 200
        assert dispatcher.credits == 2


async def test_a_plain_result_is_one_item() -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(post("/f/echo", b'{"a": 1}', **WATCH))
    assert answer.body.startswith(b'event: item\ndata: {"a": 1}\n\nevent: end\ndata: {"receipt":')


async def test_a_call_that_fails_before_its_first_event_gets_a_problem_document() -> None:
    async with running_gateway(EchoDispatcher(lambda _: Outcome(error=Overloaded("full")))) as server:
        [answer] = await server.exchange(post("/f/echo", b"1", **WATCH))
    assert (answer.status, answer.json()["code"]) == (429, "overloaded")


@pytest.mark.parametrize(("token", "shown"), [(TOKEN, False), (OWNER_TOKEN, True)])
async def test_a_call_that_fails_in_the_midst_ends_with_an_error_event(token: str, shown: bool) -> None:
    dispatcher = held()
    async with running_gateway(dispatcher, is_auth_on=True) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", Authorization=f"Bearer {token}", **WATCH))
        call = await first_call(dispatcher)
        chunk(call, b"1")
        call.finish(Outcome(error=FunctionError("boom", remote_traceback="Traceback …")))
        await peer.head()
        await read_event(peer)
        name, data = await read_event(peer)
        assert (name, data["code"], "traceback" in data) == ("error", "function_error", shown)
        assert await peer.chunk() == b""


async def test_http_10_gets_the_events_up_to_the_close() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.0\r\nAccept: text/event-stream\r\nContent-Length: 1\r\n\r\n1")
        answer = await peer.answer()
        assert answer.body.startswith(b"event: item\ndata: 1\n\nevent: end\n")


async def test_a_reader_that_falls_behind_holds_the_credit_back_until_it_has_caught_up() -> None:
    dispatcher = held()
    item = b'"' + b"x" * (1 << 20) + b'"'
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", **WATCH))
        call = await first_call(dispatcher)
        sent = 0
        while dispatcher.credits == sent:
            chunk(call, item)
            sent += 1
        assert dispatcher.credits == sent - 1
        await peer.head()
        for _ in range(sent):
            await peer.chunk()
        dispatcher.credited.clear()
        if dispatcher.credits < sent:
            await asyncio.wait_for(dispatcher.credited.wait(), 10)
        assert dispatcher.credits == sent


async def test_a_reader_that_takes_nothing_is_cut_off_and_its_call_canceled() -> None:
    dispatcher = held()
    item = b'"' + b"x" * (1 << 20) + b'"'
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", **WATCH))
        call = await first_call(dispatcher)
        sent = 0
        while dispatcher.credits == sent:
            chunk(call, item)
            sent += 1
        hour_ns = 3600 * 10**9
        server.protocol.sweeper.sweep(monotonic_ns())
        server.protocol.sweeper.sweep(monotonic_ns() + hour_ns)
        await asyncio.wait_for(dispatcher.left.wait(), 10)
        assert dispatcher.canceled == [call]


async def test_a_watcher_that_leaves_cancels_its_call() -> None:
    dispatcher = held()
    async with running_gateway(dispatcher) as server:
        async with server.connect() as peer:
            await peer.send(post("/f/echo", b"1", **WATCH))
            chunk(await first_call(dispatcher), b"1")
            await peer.head()
        await asyncio.wait_for(dispatcher.left.wait(), 10)


@pytest.mark.parametrize("breaker", [b"\n", b"\r", b"\r\n", b"\n\n"])
def test_no_payload_can_begin_another_event(breaker: bytes) -> None:
    data = event("item", b"a" + breaker + b"event: end")
    assert b"\nevent: end" not in data.replace(b"\ndata: event: end", b"")
    assert data.count(b"\n\n") == 1
