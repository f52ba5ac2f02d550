"""Real workers for tests: a bundle from source, a start order, and a caller on the worker's socket."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from stoker.bundle import build_source_bundle, bundle_sha256, sign
from stoker.signing import new_private_key, public_key_of
from stoker.spec import options_from_json
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.frame_buffer import Frame, FrameBuffer
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
    pack,
)
from stoker_runtime.replica_process import ReplicaProcess, StartOrder

LIMIT_S = 30.0
OWN_ENVIRONMENT = BuiltEnvironment(python_path=Path(sys.executable), digest="own")
_KEY = new_private_key()


def order_for(source: str, handler: str, folder: Path, **options: object) -> StartOrder:
    """A start order for ``handler`` in ``source``, with its files below ``folder``."""
    bundle = build_source_bundle(source)
    return StartOrder(
        revision_key=f"default/{handler.lower()}@1",
        replica_id=f"{handler.lower()}-1",
        handler=handler,
        options=options_from_json(handler.lower(), options),
        bundle=bundle,
        bundle_sha256=bundle_sha256(bundle),
        signature=sign(bundle, _KEY),
        public_key=public_key_of(_KEY),
        environment=OWN_ENVIRONMENT,
        device_env={},
        secret_env={},
        memory_limit_bytes=None,
        scratch_root=folder / "scratch",
        log_path=folder / "function.log",
    )


def again(order: StartOrder, replica_id: str) -> StartOrder:
    """The same order for another replica."""
    return replace(order, replica_id=replica_id)


@dataclass
class Answer:
    """One result as the worker gave it."""

    header: ResultHeader
    body: bytes
    chunks: list[bytes] = field(default_factory=list)

    @property
    def value(self) -> Any:
        """The JSON result."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> ErrorBody:
        """The error that came instead of a result."""
        return msgspec.msgpack.decode(self.body, type=ErrorBody)


class Caller:
    """Speaks frames to one worker."""

    def __init__(self, replica: ReplicaProcess) -> None:
        self.socket = replica.socket
        self._buffer = FrameBuffer()
        self._frames: list[Frame] = []
        self._next_id = 0

    def close(self) -> None:
        self.socket.close()

    async def call(self, value: object, **header: Any) -> Answer:
        """One call with a JSON body, or with ``bytes`` as they are."""
        return (await self.call_many([value], **header))[0]

    async def call_many(self, values: list[object], *, batched: bool = False, **header: Any) -> list[Answer]:
        """Calls in one frame; their answers in the order of the calls."""
        ids = await self.begin(values, batched=batched, **header)
        answers: dict[int, Answer] = {}
        chunks: dict[int, list[bytes]] = {}
        while len(answers) < len(ids):
            frame = await self.receive()
            if frame.kind == FrameKind.CHUNK:
                chunk = msgspec.msgpack.decode(frame.header, type=ChunkHeader)
                chunks.setdefault(chunk.call_id, []).append(bytes(frame.body))
                await self.send(FrameKind.CREDIT, CreditHeader(chunk.call_id, 1))
                continue
            for result, body in results_of(frame):
                answers[result.call_id] = Answer(result, body, chunks.get(result.call_id, []))
        return [answers[call_id] for call_id in ids]

    async def begin(self, values: list[object], *, batched: bool = False, **header: Any) -> list[int]:
        """Send calls in one frame without waiting for their answers; their ids."""
        bodies = [value if isinstance(value, bytes) else msgspec.json.encode(value) for value in values]
        calls = []
        for body in bodies:
            self._next_id += 1
            fields = {"content_type": "", "request_id": f"request-{self._next_id}", **header}
            calls.append(CallHeader(call_id=self._next_id, body_bytes=len(body), **fields))
        await self.send(FrameKind.CALLS, CallsHeader(batched, calls), *bodies)
        return [call.call_id for call in calls]

    async def cancel(self, call_id: int) -> None:
        await self.send(FrameKind.CANCEL, CancelHeader([call_id]))

    async def send(self, kind: FrameKind, header: msgspec.Struct | None, *bodies: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.socket, b"".join(pack(kind, header, *bodies)))

    async def receive(self) -> Frame:
        """The next frame; raises ``EOFError`` when the worker is gone."""
        loop = asyncio.get_running_loop()
        while not self._frames:
            reading = loop.sock_recv_into(self.socket, self._buffer.get_buffer())
            received = await asyncio.wait_for(reading, LIMIT_S)
            if not received:
                raise EOFError
            self._frames += self._buffer.buffer_updated(received)
        return self._frames.pop(0)


def results_of(frame: Frame) -> list[tuple[ResultHeader, bytes]]:
    """Headers and bodies of a RESULTS frame."""
    assert frame.kind == FrameKind.RESULTS
    found = []
    start = 0
    for header in msgspec.msgpack.decode(frame.header, type=ResultsHeader).results:
        found.append((header, bytes(frame.body[start : start + header.body_bytes])))
        start += header.body_bytes
    return found
