"""The worker of async functions: an event loop in the main thread, one task per call.

The rule that must not break: a canceled call's task is canceled, and every call still gets exactly one result.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import cast

import msgspec

from stoker.errors import InvalidArguments
from stoker.shapes import Kind
from stoker_runtime.batch_run import BatchRun
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.entries import Entries, Entry
from stoker_runtime.execution import (
    Call,
    Result,
    Timing,
    arguments_of,
    ended,
    entry_for,
    failed,
    refused,
    succeeded,
)
from stoker_runtime.frame_buffer import Frame, FrameBuffer
from stoker_runtime.frames import (
    INITIAL_CREDIT_CHUNKS,
    CallHeader,
    CancelHeader,
    ChunkHeader,
    CreditHeader,
    FrameKind,
    ResultsHeader,
    ResultStatus,
    pack,
)
from stoker_runtime.result_codec import encode
from stoker_runtime.running_call import call_scope
from stoker_runtime.sync_worker import by_method, is_parking, split_calls

_decode_cancel = msgspec.msgpack.Decoder(CancelHeader).decode
_decode_credit = msgspec.msgpack.Decoder(CreditHeader).decode


class AsyncWorker(asyncio.BufferedProtocol):
    """Runs calls as tasks; batches as one task each."""

    def __init__(self, entries: Entries, *, is_batched: bool, concurrency: int, narrows: bool = False) -> None:
        self._entries = entries
        self._is_batched = is_batched
        self._narrows = narrows
        self._slots = asyncio.Semaphore(concurrency)
        self._buffer = FrameBuffer()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._results: list[Result] = []
        self._credit: dict[int, int] = {}
        self._credit_came: dict[int, asyncio.Event] = {}
        self._writable = asyncio.Event()
        self._writable.set()
        self._stopped = asyncio.Event()
        self._is_lost = False

    async def run(self, sock: socket.socket) -> None:
        """Serve until STOP, SIGTERM, or the socket closes."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        sock.setblocking(False)
        self._loop = loop
        transport, _ = await loop.create_connection(lambda: self, sock=sock)
        await self._stopped.wait()
        if self._is_lost:
            for task in self._tasks.values():
                task.cancel()
        await asyncio.gather(*set(self._tasks.values()), return_exceptions=True)
        if not self._is_lost:
            self._flush()
            await self._writable.wait()
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._writable.set()
        self._stopped.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        for frame in self._buffer.buffer_updated(nbytes):
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.kind == FrameKind.CALLS:
            header, calls = split_calls(frame)
            for group in self._groups(calls, is_one_batch=header.batched):
                if header.batched or (self._is_batched and not is_parking(group)):
                    coroutine = self._run_batch(group, header.suspects_below)
                else:
                    coroutine = self._run_call(*group[0])
                task = self._loop.create_task(coroutine)
                for call, _ in group:
                    self._tasks[call.call_id] = task
        elif frame.kind == FrameKind.CANCEL:
            for call_id in _decode_cancel(frame.header).call_ids:
                self._cancel(call_id)
        elif frame.kind == FrameKind.CREDIT:
            credit = _decode_credit(frame.header)
            if credit.call_id in self._credit:
                self._credit[credit.call_id] += credit.chunks
                self._credit_came[credit.call_id].set()
        elif frame.kind == FrameKind.STOP:
            self._stopped.set()

    def _groups(self, calls: list[Call], *, is_one_batch: bool) -> Iterator[list[Call]]:
        return by_method(calls) if is_one_batch else iter([[call] for call in calls])

    def _cancel(self, call_id: int) -> None:
        task = self._tasks.get(call_id)
        if task is not None and sum(other is task for other in self._tasks.values()) == 1:
            # after the task's first step: one canceled before it would never answer. A batch with mates runs on
            self._loop.call_soon(task.cancel)

    def _answer(self, results: list[Result]) -> None:
        if not self._results:
            self._loop.call_soon(self._flush)
        self._results += results
        for header, _ in results:
            self._tasks.pop(header.call_id, None)

    def _flush(self) -> None:
        results, self._results = self._results, []
        if results and not self._is_lost:
            header = ResultsHeader([header for header, _ in results])
            self._transport.writelines(pack(FrameKind.RESULTS, header, *[body for _, body in results]))

    async def _run_call(self, call: CallHeader, body: memoryview) -> None:
        timing = Timing()
        try:
            async with self._slots:
                with call_scope(call):
                    result = await self._result_of(call, body, timing)
        except asyncio.CancelledError:
            result = ended(call, ResultStatus.CANCELED, timing)
        except BaseException as error:  # of user code: SystemExit must not stop the loop
            result = failed(call, error, timing)
        self._answer([result])

    async def _result_of(self, call: CallHeader, body: memoryview, timing: Timing) -> Result:
        started_ns = monotonic_ns()
        try:
            entry = entry_for(self._entries, call)
            args, kwargs = arguments_of(entry, call, body)
        except Exception as error:
            return refused(call, error, timing)
        decoded_ns = monotonic_ns()
        timing.decode_ns = decoded_ns - started_ns
        if entry.streams:
            return await self._run_stream(entry, call, entry.call(*args, **kwargs), timing)
        try:
            value = entry.call(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await value
        finally:
            timing.execute_ns = monotonic_ns() - decoded_ns
        return succeeded(call, value, timing)

    async def _run_batch(self, calls: list[Call], suspects_below: int) -> None:
        try:
            entry = entry_for(self._entries, calls[0][0])
        except InvalidArguments as error:
            self._answer([refused(call, error, Timing()) for call, _ in calls])
            return
        batch = BatchRun(entry, calls, narrows=self._narrows, suspects_below=suspects_below)
        started_ns = 0
        while batch.has_items:
            try:
                async with self._slots:
                    started_ns = monotonic_ns()
                    with call_scope(calls[0][0]):
                        value = batch.call()
                        if inspect.isawaitable(value):
                            value = await value
            except asyncio.CancelledError:
                batch.cancel()
            except BaseException as error:  # of user code
                batch.fail(error, monotonic_ns() - started_ns)
            else:
                batch.succeed(value, monotonic_ns() - started_ns)
        self._answer(batch.results)

    async def _run_stream(self, entry: Entry, call: CallHeader, stream: object, timing: Timing) -> Result:
        self._credit[call.call_id] = INITIAL_CREDIT_CHUNKS
        self._credit_came[call.call_id] = asyncio.Event()
        try:
            if entry.kind is Kind.ASYNC_GENERATOR:
                items = cast("AsyncIterator[object]", stream)
            else:
                items = _stepped(cast("Iterator[object]", stream))
            started_ns = monotonic_ns()
            async for item in items:
                ran_ns = monotonic_ns()
                timing.execute_ns += ran_ns - started_ns
                await self._send_chunk(call, item, timing)
                started_ns = monotonic_ns()
            timing.execute_ns += monotonic_ns() - started_ns
            return ended(call, ResultStatus.STREAM_END, timing)
        finally:
            del self._credit[call.call_id], self._credit_came[call.call_id]
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _send_chunk(self, call: CallHeader, item: object, timing: Timing) -> None:
        started_ns = monotonic_ns()
        encoded = encode(item, call.accept if call.accept != "text/event-stream" else "")
        timing.encode_ns += monotonic_ns() - started_ns
        while self._credit[call.call_id] <= 0:
            self._credit_came[call.call_id].clear()
            await self._credit_came[call.call_id].wait()
        self._credit[call.call_id] -= 1
        await self._writable.wait()
        if not self._is_lost:
            header = ChunkHeader(call.call_id, encoded.content_type, len(encoded.body))
            self._transport.writelines(pack(FrameKind.CHUNK, header, encoded.body))


async def _stepped(items: Iterator[object]) -> AsyncIterator[object]:
    """A plain generator beside async methods: the loop gets its turn between items."""
    for item in items:
        yield item
        await asyncio.sleep(0)
