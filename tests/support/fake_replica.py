"""A worker in memory: a real ``ReplicaLink`` whose transport keeps the frames, and answers when the test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import msgspec

from stoker_runtime.frame_buffer import FrameBuffer
from stoker_runtime.frames import (
    CallHeader,
    CallsHeader,
    CancelHeader,
    ChunkHeader,
    CreditHeader,
    ErrorBody,
    FrameKind,
    ResultHeader,
    ResultsHeader,
    ResultStatus,
    pack,
)
from stoker_runtime.replica_link import ReplicaLink


@dataclass
class Execution:
    """One CALLS frame as the worker received it."""

    batched: bool
    calls: list[CallHeader]
    bodies: list[bytes]
    suspects_below: int = 0


@dataclass
class FakeReplica:
    """Keeps what was sent to it in ``executions`` until it is told to answer."""

    link: ReplicaLink
    executions: deque[Execution] = field(default_factory=deque)
    cancelled: list[int] = field(default_factory=list)
    credits: list[tuple[int, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    stopped: bool = False

    def answer(self, bad: frozenset[bytes] | set[bytes] = frozenset(), execute_ns: int = 1000) -> Execution:
        """Finish the oldest execution: each call gets its body back, unless a body is bad."""
        execution = self.executions.popleft()
        has_bad = any(body in bad for body in execution.bodies)
        results, bodies = [], []
        for call, body in zip(execution.calls, execution.bodies, strict=True):
            failed = has_bad if execution.batched else body in bad
            if failed:
                body = msgspec.msgpack.encode(ErrorBody("builtins.ValueError", "bad", b"[]", "Traceback"))
            results.append(
                ResultHeader(
                    call.call_id,
                    ResultStatus.FUNCTION_ERROR if failed else ResultStatus.OK,
                    "",
                    len(body),
                    10,
                    execute_ns,
                    10,
                    len(execution.calls),
                    batch_failed=failed and execution.batched,
                )
            )
            bodies.append(body)
        self.feed(b"".join(pack(FrameKind.RESULTS, ResultsHeader(results), *bodies)))
        return execution

    def answer_all(self, bad: frozenset[bytes] | set[bytes] = frozenset()) -> None:
        while self.executions:
            self.answer(bad)

    def chunk(self, call_id: int, body: bytes, content_type: str = "") -> None:
        self.feed(b"".join(pack(FrameKind.CHUNK, ChunkHeader(call_id, content_type, len(body)), body)))

    def end(self, call_id: int, status: ResultStatus = ResultStatus.STREAM_END) -> None:
        result = ResultHeader(call_id, status, "", 0, 1, 1, 1, 1)
        self.feed(b"".join(pack(FrameKind.RESULTS, ResultsHeader([result]))))

    def feed(self, data: bytes) -> None:
        """Bytes arrive at the platform."""
        while data and not self.link.is_lost:
            buffer = self.link.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self.link.buffer_updated(size)

    def die(self) -> None:
        self.executions.clear()
        self.link.connection_lost(None)


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.replica: FakeReplica | None = None
        self._buffer = FrameBuffer()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def writelines(self, list_of_data: object) -> None:
        self.write(b"".join(list_of_data))  # type: ignore[call-overload]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        rest = bytes(data)
        while rest:
            buffer = self._buffer.get_buffer()
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            rest = rest[size:]
            for frame in self._buffer.buffer_updated(size):
                self._take(frame.kind, bytes(frame.header), bytes(frame.body))

    def _take(self, kind: int, header: bytes, body: bytes) -> None:
        assert self.replica is not None
        if kind == FrameKind.CALLS:
            calls = msgspec.msgpack.decode(header, type=CallsHeader)
            bodies, offset = [], 0
            for call in calls.calls:
                bodies.append(body[offset : offset + call.body_bytes])
                offset += call.body_bytes
            assert offset == len(body)
            self.replica.executions.append(Execution(calls.batched, calls.calls, bodies, calls.suspects_below))
            self.replica.sizes.append(len(calls.calls))
            self.replica.bodies += bodies
        elif kind == FrameKind.CANCEL:
            self.replica.cancelled += msgspec.msgpack.decode(header, type=CancelHeader).call_ids
        elif kind == FrameKind.CREDIT:
            credit = msgspec.msgpack.decode(header, type=CreditHeader)
            self.replica.credits.append((credit.call_id, credit.chunks))
        elif kind == FrameKind.STOP:
            self.replica.stopped = True

    def abort(self) -> None:
        pass


def fake_replica(replica_id: str = "r1", *, concurrency: int = 1) -> FakeReplica:
    """A replica that is ready to be attached."""
    link = ReplicaLink(replica_id, concurrency=concurrency)
    transport = _Transport()
    replica = transport.replica = FakeReplica(link)
    link.connection_made(transport)
    return replica
