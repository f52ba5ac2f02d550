"""Dispatcher and link over a real socket, against a worker that speaks frames from a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from stoker.errors import WorkerLost
from stoker.options import Batch, FunctionOptions
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.frame_buffer import FrameBuffer
from stoker_runtime.frames import CallsHeader, FrameKind, ResultHeader, ResultsHeader, pack
from stoker_runtime.invocation import Invocation
from stoker_runtime.replica_link import ReplicaLink

LIMIT_S = 20.0


class EchoThread:
    """Answers each frame with its own bodies until STOP, the socket's end, or a body that says ``die``."""

    def __init__(self) -> None:
        self.platform_end, self._socket = socket.socketpair()
        self.platform_end.setblocking(False)
        self.stopped = False
        self.sizes: list[int] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._socket:
            buffer = FrameBuffer()
            while received := self._socket.recv_into(buffer.get_buffer()):
                for frame in buffer.buffer_updated(received):
                    if frame.kind == FrameKind.STOP:
                        self.stopped = True
                        return
                    if frame.kind == FrameKind.CALLS and not self._answer(bytes(frame.header), bytes(frame.body)):
                        return

    def _answer(self, header: bytes, body: bytes) -> bool:
        if body == b"die":
            return False
        calls = msgspec.msgpack.decode(header, type=CallsHeader).calls
        self.sizes.append(len(calls))
        results = [ResultHeader(call.call_id, 0, "", call.body_bytes, 1, 1, 1, len(calls)) for call in calls]
        for part in pack(FrameKind.RESULTS, ResultsHeader(results), body):
            self._socket.sendall(part)
        return True


@pytest.fixture
async def echo() -> AsyncIterator[EchoThread]:
    worker = EchoThread()
    yield worker
    worker.platform_end.close()
    worker.join()


def submit(dispatcher: Dispatcher, body: bytes) -> asyncio.Future[Invocation]:
    future: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
    done: Callable[[Invocation], None] = future.set_result
    dispatcher.submit(Invocation(body, "", done))
    return future


async def ends(future: asyncio.Future[Invocation]) -> Invocation:
    return await asyncio.wait_for(future, LIMIT_S)


async def test_calls_come_back_whole_whatever_their_size(echo: EchoThread) -> None:
    dispatcher = Dispatcher(FunctionOptions(name="echo"), 1)
    link = await ReplicaLink.open(echo.platform_end, "r1")
    dispatcher.attach(link)
    bodies = [b"", b"{}", b"x" * 70_000, b"y" * 300_000, b"z" * (5 << 20), b"1"]
    futures = [submit(dispatcher, body) for body in bodies]
    for body, future in zip(bodies, futures, strict=True):
        outcome = (await ends(future)).outcome
        assert outcome is not None
        assert outcome.error is None
        assert bytes(outcome.body) == body
    link.stop()
    await asyncio.wait_for(asyncio.to_thread(echo.join), LIMIT_S)
    assert echo.stopped


async def test_calls_of_one_turn_share_a_batch(echo: EchoThread) -> None:
    dispatcher = Dispatcher(FunctionOptions(name="echo", batch=Batch(max_batch_size=8)), 1)
    link = await ReplicaLink.open(echo.platform_end, "r1")
    dispatcher.attach(link)
    done = [await ends(future) for future in [submit(dispatcher, b"%d" % number) for number in range(8)]]
    assert echo.sizes == [8]
    assert {invocation.batch_size for invocation in done} == {8}
    link.close()


async def test_a_lost_worker_is_told_to_callers_and_owner(echo: EchoThread) -> None:
    dispatcher = Dispatcher(FunctionOptions(name="echo"), 1)
    lost = asyncio.Event()
    link = await ReplicaLink.open(echo.platform_end, "r1", on_lost=lambda link, reason: lost.set())
    dispatcher.attach(link)
    invocation = await ends(submit(dispatcher, b"die"))
    await asyncio.wait_for(lost.wait(), LIMIT_S)
    assert invocation.outcome is not None
    assert isinstance(invocation.outcome.error, WorkerLost)
    assert link.is_lost


async def test_a_flood_keeps_its_order_and_loses_nothing(echo: EchoThread) -> None:
    dispatcher = Dispatcher(FunctionOptions(name="echo", max_queue_depth=10_000), 1)
    link = await ReplicaLink.open(echo.platform_end, "r1")
    dispatcher.attach(link)
    futures = [submit(dispatcher, b"%d" % number) for number in range(3000)]
    for number, future in enumerate(futures):
        outcome = (await ends(future)).outcome
        assert outcome is not None
        assert outcome.body == b"%d" % number
    assert dispatcher.queue_depth == dispatcher.in_flight == 0
    link.close()
