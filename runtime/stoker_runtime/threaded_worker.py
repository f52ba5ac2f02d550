"""The worker of sync functions with ``concurrency`` above 1: the main thread reads, as many threads run calls.

The rule that must not break: a call's result or chunk leaves as soon as it is there, whatever the other threads do.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Generator
from types import FrameType
from typing import cast

import msgspec

from stoker.errors import InvalidArguments
from stoker.shapes import Kind
from stoker_runtime.channel import Channel, PlatformGone
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
from stoker_runtime.frames import (
    INITIAL_CREDIT_CHUNKS,
    CallHeader,
    CancelHeader,
    ChunkHeader,
    CreditHeader,
    FrameKind,
    ResultsHeader,
    ResultStatus,
)
from stoker_runtime.result_codec import encode
from stoker_runtime.running_call import call_scope
from stoker_runtime.sync_worker import StopWorker, split_calls

_decode_cancel = msgspec.msgpack.Decoder(CancelHeader).decode
_decode_credit = msgspec.msgpack.Decoder(CreditHeader).decode


class ThreadedWorker:
    """Runs up to ``concurrency`` calls at once."""

    def __init__(self, channel: Channel, entries: Entries, *, concurrency: int) -> None:
        self._channel = channel
        self._entries = entries
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._credit: dict[int, int] = {}
        self._live: set[int] = set()
        self._canceled: set[int] = set()
        self._threads = [
            threading.Thread(target=self._serve, name=f"call-{index}", daemon=True) for index in range(concurrency)
        ]

    def run(self) -> None:
        """Serve until STOP or SIGTERM; raises ``PlatformGone`` when the socket closes."""
        signal.signal(signal.SIGTERM, _stop)
        for thread in self._threads:
            thread.start()
        try:
            while self._read_frame():
                pass
        except StopWorker:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _read_frame(self) -> bool:
        frame = self._channel.receive()
        if frame.kind == FrameKind.CALLS:
            _, calls = split_calls(frame)
            with self._changed:
                self._live.update(call.call_id for call, _ in calls)
            for item in calls:
                self._calls.put(item)
        elif frame.kind == FrameKind.CANCEL:
            with self._changed:
                self._canceled.update(self._live.intersection(_decode_cancel(frame.header).call_ids))
                self._changed.notify_all()
        elif frame.kind == FrameKind.CREDIT:
            credit = _decode_credit(frame.header)
            with self._changed:
                if credit.call_id in self._credit:
                    self._credit[credit.call_id] += credit.chunks
                    self._changed.notify_all()
        return frame.kind != FrameKind.STOP

    def _serve(self) -> None:
        try:
            while (item := self._calls.get()) is not None:
                header, body = self._run(*item)
                self._channel.send(FrameKind.RESULTS, ResultsHeader([header]), body)
        except (PlatformGone, OSError):
            return  # the main thread sees the same and leaves

    def _run(self, call: CallHeader, body: memoryview) -> Result:
        try:
            if call.call_id in self._canceled:
                return ended(call, ResultStatus.CANCELED, Timing())
            entry = entry_for(self._entries, call)
            with call_scope(call):
                if entry.kind is Kind.GENERATOR:
                    return self._run_stream(entry, call, body)
                return run_call(entry, call, body)
        except InvalidArguments as error:
            return refused(call, error, Timing())
        finally:
            with self._changed:
                self._live.discard(call.call_id)
                self._canceled.discard(call.call_id)

    def _run_stream(self, entry: Entry, call: CallHeader, body: memoryview) -> Result:
        timing = Timing()
        started_ns = monotonic_ns()
        try:
            args, kwargs = arguments_of(entry, call, body)
        except Exception as error:
            return refused(call, error, timing)
        timing.decode_ns = monotonic_ns() - started_ns
        with self._changed:
            self._credit[call.call_id] = INITIAL_CREDIT_CHUNKS
        generator: Generator[object, None, object] | None = None
        try:
            generator = cast("Generator[object, None, object]", entry.call(*args, **kwargs))
            return ended(call, self._send_chunks(generator, call, timing), timing)
        except (PlatformGone, OSError):
            raise
        except BaseException as error:  # of user code
            return failed(call, error, timing)
        finally:
            with self._changed:
                del self._credit[call.call_id]
            if generator is not None:
                generator.close()

    def _send_chunks(
        self, generator: Generator[object, None, object], call: CallHeader, timing: Timing
    ) -> ResultStatus:
        started_ns = monotonic_ns()
        for item in generator:
            ran_ns = monotonic_ns()
            timing.execute_ns += ran_ns - started_ns
            encoded = encode(item, call.accept if call.accept != "text/event-stream" else "")
            timing.encode_ns += monotonic_ns() - ran_ns
            with self._changed:
                self._changed.wait_for(lambda: self._credit[call.call_id] > 0 or call.call_id in self._canceled)
                if call.call_id in self._canceled:
                    return ResultStatus.CANCELED
                self._credit[call.call_id] -= 1
            header = ChunkHeader(call.call_id, encoded.content_type, len(encoded.body))
            self._channel.send(FrameKind.CHUNK, header, encoded.body)
            started_ns = monotonic_ns()
        timing.execute_ns += monotonic_ns() - started_ns
        return ResultStatus.STREAM_END


def _stop(signum: int, frame: FrameType | None) -> None:
    raise StopWorker
