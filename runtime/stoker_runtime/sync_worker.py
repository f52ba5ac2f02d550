"""The worker of functions that run one call at a time: a blocking loop in the main thread, no event loop.

The rule that must not break: every call that arrives gets exactly one result (a stream: chunks, then its end), and
results do not wait longer than a millisecond for other short calls. What waits is in the journal, where the platform
finds it should a call turn out long, or should this process die.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Final, cast

import msgspec

from stoker.errors import InvalidArguments
from stoker.shapes import Kind
from stoker_runtime.batch_run import BatchRun
from stoker_runtime.channel import Channel
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
    run_call,
)
from stoker_runtime.frame_buffer import Frame
from stoker_runtime.frames import (
    INITIAL_CREDIT_CHUNKS,
    INTERRUPT,
    CallEncoding,
    CallHeader,
    CallsHeader,
    CancelHeader,
    ChunkHeader,
    CreditHeader,
    FrameKind,
    ResultStatus,
    encode_result,
    pack_results,
)
from stoker_runtime.journal import JournalWriter
from stoker_runtime.result_codec import encode
from stoker_runtime.running_call import begin_call, call_scope, end_call

_FLUSH_AFTER_NS: Final = 500_000
_CALLS: Final = int(FrameKind.CALLS)
_decode_calls: Final = msgspec.msgpack.Decoder(CallsHeader).decode
_decode_cancel: Final = msgspec.msgpack.Decoder(CancelHeader).decode
_decode_credit: Final = msgspec.msgpack.Decoder(CreditHeader).decode


class StopWorker(BaseException):
    """The platform, or a SIGTERM, wants the worker to leave."""


def split_calls(frame: Frame) -> tuple[CallsHeader, list[Call]]:
    """The calls of a CALLS frame, each with its body."""
    header = _decode_calls(frame.header)
    calls: list[Call] = []
    start = 0
    for call in header.calls:
        end = start + call.body_bytes
        calls.append((call, frame.body[start:end]))
        start = end
    return header, calls


def by_method(calls: list[Call]) -> Iterator[list[Call]]:
    """A batch has one method: calls of one frame, grouped by theirs."""
    groups: dict[str, list[Call]] = {}
    for call in calls:
        groups.setdefault(call[0].method, []).append(call)
    return iter(groups.values())


def is_parking(calls: list[Call]) -> bool:
    """The platform's own call, which is never one of a batch."""
    return bool(calls) and calls[0][0].encoding == CallEncoding.PARKING


class CallInterrupted(BaseException):
    """The platform has given up the call that runs, and wants its replica back."""


class SyncWorker:
    """Runs calls in the main thread until told to stop."""

    def __init__(
        self,
        channel: Channel,
        entries: Entries,
        *,
        is_batched: bool,
        narrows: bool = False,
        journal: JournalWriter | None = None,
    ) -> None:
        self._channel = channel
        self._entries = entries
        self._is_batched = is_batched
        self._narrows = narrows
        self._waiting: deque[Frame] = deque()
        self._journal = journal
        self._results: list[Result] = []
        self._encoded: list[bytes] = []
        """Headers of ``_results``, as far as the journal holds them."""
        self._flushed_ns = 0
        self._canceled: set[int] = set()
        self._credit: dict[int, int] = {}
        self._running: int | None = None
        """The call that may be interrupted where it is."""
        self._is_idle = False
        self._is_stopping = False

    def run(self) -> None:
        """Serve until STOP or SIGTERM; raises ``PlatformGone`` when the socket closes."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(INTERRUPT, self._on_interrupt)
        signal.siginterrupt(INTERRUPT, False)
        try:
            while True:
                self._run_frame(self._next_calls())
        except StopWorker:
            return
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _next_calls(self) -> Frame:
        while not self._waiting:
            self._flush()
            if self._is_stopping:
                raise StopWorker
            self._is_idle = True
            try:
                frame = self._channel.receive()
            finally:
                self._is_idle = False
            self._sort(frame)
        return self._waiting.popleft()

    def _sort(self, frame: Frame) -> None:
        if frame.kind == _CALLS:
            self._waiting.append(frame)
        elif frame.kind == FrameKind.CANCEL:
            self._canceled.update(_decode_cancel(frame.header).call_ids)
        elif frame.kind == FrameKind.CREDIT:
            credit = _decode_credit(frame.header)
            if credit.call_id in self._credit:
                self._credit[credit.call_id] += credit.chunks
        elif frame.kind == FrameKind.STOP:
            self._is_stopping = True

    def _poll(self) -> None:
        while (frame := self._channel.poll()) is not None:
            self._sort(frame)

    def _run_frame(self, frame: Frame) -> None:
        header, calls = split_calls(frame)
        if not self._results:
            self._flushed_ns = monotonic_ns()
        if header.batched or (self._is_batched and not is_parking(calls)):
            for group in by_method(calls) if header.batched else ([call] for call in calls):
                self._run_batch(group, header.suspects_below)
                self._flush()
        else:
            last = calls[-1][0] if calls else None
            for call, body in calls:
                self._run_single(call, body)
                if call is not last or self._waiting:
                    self._keep_or_flush()
        if self._canceled:
            self._canceled.difference_update(call.call_id for call, _ in calls)

    def _run_single(self, call: CallHeader, body: memoryview) -> None:
        if call.call_id in self._canceled:
            self._results.append(ended(call, ResultStatus.CANCELED, Timing()))
            return
        if self._journal is not None:
            self._journal.start(call.call_id)
        try:
            entry = entry_for(self._entries, call)
        except InvalidArguments as error:
            self._results.append(refused(call, error, Timing()))
            return
        begin_call(call)
        try:
            if entry.kind is Kind.GENERATOR:
                self._results.append(self._run_stream(entry, call, body))
            else:
                self._results.append(self._interruptible(entry, call, body))
        finally:
            end_call()

    def _interruptible(self, entry: Entry, call: CallHeader, body: memoryview) -> Result:
        try:
            self._running = call.call_id
            result = run_call(entry, call, body)
            self._running = None
        except CallInterrupted:
            return ended(call, ResultStatus.CANCELED, Timing())
        return result

    def _run_batch(self, calls: list[Call], suspects_below: int) -> None:
        live = [call for call in calls if call[0].call_id not in self._canceled]
        for call, _ in calls:
            if call.call_id in self._canceled:
                self._results.append(ended(call, ResultStatus.CANCELED, Timing()))
        if not live:
            return
        if self._journal is not None:
            self._journal.start(max(call.call_id for call, _ in live))
        try:
            entry = entry_for(self._entries, live[0][0])
        except InvalidArguments as error:
            self._results += [refused(call, error, Timing()) for call, _ in live]
            return
        with call_scope(live[0][0]):
            batch = BatchRun(entry, live, narrows=self._narrows, suspects_below=suspects_below)
            self._results += batch.run()

    def _run_stream(self, entry: Entry, call: CallHeader, body: memoryview) -> Result:
        timing = Timing()
        started_ns = monotonic_ns()
        try:
            args, kwargs = arguments_of(entry, call, body)
        except Exception as error:
            return refused(call, error, timing)
        timing.decode_ns = monotonic_ns() - started_ns
        self._flush()
        self._credit[call.call_id] = INITIAL_CREDIT_CHUNKS
        generator: Generator[object, None, object] | None = None
        try:
            generator = cast("Generator[object, None, object]", entry.call(*args, **kwargs))
            status = self._send_chunks(generator, call, timing)
        except StopWorker:
            raise
        except BaseException as error:  # of user code
            return failed(call, error, timing)
        finally:
            del self._credit[call.call_id]
            if generator is not None:
                generator.close()
        return ended(call, status, timing)

    def _send_chunks(
        self, generator: Generator[object, None, object], call: CallHeader, timing: Timing
    ) -> ResultStatus:
        while True:
            started_ns = monotonic_ns()
            try:
                item = next(generator)
            except StopIteration:
                timing.execute_ns += monotonic_ns() - started_ns
                return ResultStatus.STREAM_END
            ran_ns = monotonic_ns()
            timing.execute_ns += ran_ns - started_ns
            encoded = encode(item, call.accept if call.accept != "text/event-stream" else "")
            timing.encode_ns += monotonic_ns() - ran_ns
            self._poll()
            while self._credit[call.call_id] <= 0 and call.call_id not in self._canceled:
                self._sort(self._channel.receive())
            if call.call_id in self._canceled:
                return ResultStatus.CANCELED
            self._credit[call.call_id] -= 1
            header = ChunkHeader(call.call_id, encoded.content_type, len(encoded.body))
            self._channel.send(FrameKind.CHUNK, header, encoded.body)

    def _keep_or_flush(self) -> None:
        """Before another call starts: what is finished must not be lost with it, nor wait long for it."""
        is_due = monotonic_ns() - self._flushed_ns > _FLUSH_AFTER_NS
        if self._journal is None or is_due:
            self._flush()
            if is_due:
                self._poll()
            return
        for header, body in self._results[len(self._encoded) :]:
            encoded = encode_result(header)
            if not self._journal.add(encoded, body):
                self._flush()
                return
            self._encoded.append(encoded)

    def _flush(self) -> None:
        results, encoded = self._results, self._encoded
        if not results:
            return
        encoded += [encode_result(header) for header, _ in results[len(encoded) :]]
        self._channel.send_buffers(pack_results(encoded, [body for _, body in results]))
        self._results, self._encoded = [], []
        if self._journal is not None:
            self._journal.clear()
        self._flushed_ns = monotonic_ns()

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        """A CANCEL frame has come: if it is for the call that runs, that one ends where it is."""
        if self._running is None:
            return
        self._poll()  # user code runs, so nobody else is reading
        if self._running in self._canceled:
            self._running = None
            raise CallInterrupted

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._is_stopping = True
        if self._is_idle:
            raise StopWorker
