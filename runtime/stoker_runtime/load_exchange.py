"""What platform and worker say to each other until the worker is a replica.

The rule that must not break: not one byte beyond the worker's answer is read here; the socket then belongs to the
replica's link.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from stoker.errors import BundleTampered, StartFailed
from stoker.spec import options_to_json
from stoker_runtime.frame_buffer import Frame, FrameBuffer
from stoker_runtime.frames import (
    FrameKind,
    LoadedHeader,
    LoadFailedHeader,
    LoadHeader,
    ProgressHeader,
    pack,
)
from stoker_runtime.replica_process import StartOrder
from stoker_runtime.zygote_client import WorkerExit

_decode_progress: Final = msgspec.msgpack.Decoder(ProgressHeader).decode
_decode_loaded: Final = msgspec.msgpack.Decoder(LoadedHeader).decode
_decode_failed: Final = msgspec.msgpack.Decoder(LoadFailedHeader).decode


async def exchange(
    sock: socket.socket, order: StartOrder, scratch: Path, on_phase: Callable[[str], None]
) -> LoadedHeader | LoadFailedHeader | None:
    """Send LOAD and read until the worker has answered; None: it went away without an answer."""
    loop = asyncio.get_running_loop()
    warmup = order.options.warmup
    header = LoadHeader(
        order.revision_key,
        order.handler,
        "",
        msgspec.json.encode(_spec_of(order)),
        order.bundle_sha256,
        order.public_key,
        {**dict(order.options.env), **order.secret_env, **order.device_env},
        b"" if warmup is None else msgspec.json.encode(warmup),
        str(scratch),
        order.signature,
    )
    try:
        for part in pack(FrameKind.LOAD, header, order.bundle):
            await loop.sock_sendall(sock, part)
        buffer = FrameBuffer()
        while True:
            received = await loop.sock_recv_into(sock, buffer.get_buffer())
            if not received:
                return None
            for frame in buffer.buffer_updated(received):
                answer = _answer(frame, on_phase)
                if answer is not None:
                    return answer
    except OSError:
        return None


def _spec_of(order: StartOrder) -> dict[str, object]:
    spec: dict[str, object] = options_to_json(order.options)
    for key in ("name", "warmup", "secrets"):
        spec.pop(key, None)
    return spec


def _answer(frame: Frame, on_phase: Callable[[str], None]) -> LoadedHeader | LoadFailedHeader | None:
    if frame.kind == FrameKind.PROGRESS:
        on_phase(_decode_progress(frame.header).phase)
        return None
    if frame.kind == FrameKind.LOADED:
        return _decode_loaded(frame.header)
    return _decode_failed(frame.header) if frame.kind == FrameKind.LOAD_FAILED else None


def start_error(
    failure: LoadFailedHeader | LoadedHeader | None, phase: str, ended: WorkerExit, log_tail: Callable[[], str]
) -> StartFailed | BundleTampered:
    if not isinstance(failure, LoadFailedHeader):
        detail = f"the worker ended while it was in {phase}: {ended.reason}"
        return StartFailed(detail, start_phase=phase, log_tail=log_tail())
    if failure.code == BundleTampered.code:
        return BundleTampered(failure.message)
    detail = f"{failure.error_type} in {failure.phase}: {failure.message}"
    tail = "\n".join(part for part in (log_tail(), failure.traceback.rstrip()) if part)
    return StartFailed(detail, start_phase=failure.phase, log_tail=tail)
