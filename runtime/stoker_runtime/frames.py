"""What platform and worker say to each other over their Unix socket.

A frame is ``<u32 length of the rest><u8 kind><u32 header length><msgpack header><raw bodies>``, little endian. Bodies
follow the header back to back in the order in which the header names them, so no body is copied into an envelope.

The rule that must not break: nothing that arrives here is ever unpickled.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final

import msgspec

PREFIX: Final = struct.Struct("<IBI")
"""Length of what follows the length field, kind, header length."""

LENGTH_FIELD_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 1 << 31


class FrameKind(IntEnum):
    """Kinds of frame. P→W: platform to worker; W→P: worker to platform."""

    LOAD = 1  # P→W  LoadHeader; body: the bundle
    LOADED = 2  # W→P  LoadedHeader
    LOAD_FAILED = 3  # W→P  LoadFailedHeader; the worker exits afterwards
    CALLS = 4  # P→W  CallsHeader; bodies: one per call
    RESULTS = 5  # W→P  ResultsHeader; bodies: one per result
    CHUNK = 6  # W→P  ChunkHeader; body: one streamed item, encoded
    CREDIT = 7  # P→W  CreditHeader: the worker may send that many more chunks of this call
    CANCEL = 8  # P→W  CancelHeader
    STOP = 9  # P→W  no header: run @exit hooks, then leave
    PROGRESS = 10  # W→P  ProgressHeader: a phase of loading begins


class LoadHeader(msgspec.Struct, array_like=True, frozen=True):
    """What a freshly forked worker needs in order to become a replica."""

    revision_key: str
    handler: str  # attribute path inside the bundle, e.g. "embed" or "Embed"
    method: str  # "" for a function; a method's name, or "__call__", for a class
    spec_json: bytes  # FunctionSpec, see stoker.spec
    bundle_sha256: str
    public_key: (
        bytes  # ed25519, 32 raw bytes; b"" where the platform itself made the bundle unsigned (never by default)
    )
    env: dict[str, str]  # user env and secrets; set before user code is imported
    warmup_json: bytes  # b"" = none; a call body run before LOADED
    scratch_dir: str
    signature: bytes = b""  # detached ed25519 over the bundle's hash; checked before anything is unpickled


class ProgressHeader(msgspec.Struct, array_like=True, frozen=True):
    phase: str  # verify | unpickle | enter | warmup


class LoadedHeader(msgspec.Struct, array_like=True, frozen=True):
    phases_ns: dict[str, int]  # verify, unpickle, enter, warmup
    memory_bytes: int  # PSS of the worker after loading
    schema_json: bytes  # {"input": {...}, "output": {...}, "methods": {...}} JSON schema
    streams: bool  # results come as chunks
    journals: bool = False  # what it has finished and not sent yet is in its journal, so frames may be shared
    parks: bool = False  # it can leave its device for host memory and come back


class LoadFailedHeader(msgspec.Struct, array_like=True, frozen=True):
    phase: str
    code: str  # a code of stoker.errors: bundle_tampered, preflight_failed, function_error ...
    error_type: str
    message: str
    traceback: str


class CallHeader(msgspec.Struct, array_like=True, frozen=True):
    """One call of a CALLS frame."""

    call_id: int
    content_type: str  # "" = application/json
    body_bytes: int
    method: str = ""  # "" = the default entry of the function
    request_id: str = ""
    deadline_in_ms: int = 0  # 0 = none; for user code that asks
    accept: str = ""  # wanted content type of the result; "" = by its Python type
    encoding: int = 0  # CallEncoding


class CallEncoding(IntEnum):
    """How a call's body maps to parameters."""

    INVOKE = 0  # JSON object = keyword arguments; other JSON = one positional; else bytes by content type
    ARGS = 1  # JSON [args, kwargs]: what the SDK sends
    PARKING = 2  # no body: the platform itself parks the replica or wakes it


class CallsHeader(msgspec.Struct, array_like=True, frozen=True):
    """Calls to run. ``batched``: one execution with lists; else one by one (or at once, for async functions)."""

    batched: bool
    calls: list[CallHeader]
    suspects_below: int = 0  # calls with ids below are suspects: if all fail, they run again before their mates do


class ResultStatus(IntEnum):
    OK = 0
    FUNCTION_ERROR = 1  # body: ErrorBody as msgpack
    INVALID_ARGUMENTS = 2  # body: ErrorBody; user code did not run
    STREAM_END = 3  # the chunks before it were the result
    CANCELED = 4
    UNSUPPORTED_CONTENT = 5  # body: ErrorBody


class Verdict(IntEnum):
    """What is known of one call of a batch that failed as a whole."""

    SUSPECT = 0  # it or another suspect is at fault
    UNKNOWN = 1  # nothing: it runs again like any other
    BAD = 2  # it was alone: its body is its own error


class ErrorBody(msgspec.Struct, array_like=True, frozen=True):
    error_type: str
    message: str
    args_json: bytes  # b"" where args are no plain JSON
    traceback: str
    errors: list[tuple[str, str]] = []  # path, message: for INVALID_ARGUMENTS
    hint: str = ""


class ResultHeader(msgspec.Struct, array_like=True, frozen=True):
    call_id: int
    status: int
    content_type: str  # "" = application/json
    body_bytes: int
    decode_ns: int
    execute_ns: int
    encode_ns: int
    batch_size: int
    http_status: int = 0  # from stoker.Response; 0 = 200
    headers: list[tuple[str, str]] = []  # from stoker.Response
    batch_failed: bool = False  # the exception was for the whole batch: the dispatcher tells its calls apart
    verdict: int = 0  # of a batch that failed: what the worker found out about this call


class ResultsHeader(msgspec.Struct, array_like=True, frozen=True):
    results: list[ResultHeader]


class ChunkHeader(msgspec.Struct, array_like=True, frozen=True):
    call_id: int
    content_type: str  # "" = application/json
    body_bytes: int


class CreditHeader(msgspec.Struct, array_like=True, frozen=True):
    call_id: int
    chunks: int


class CancelHeader(msgspec.Struct, array_like=True, frozen=True):
    call_ids: list[int]


INTERRUPT: Final = signal.SIGURG
"""Sent to a worker behind a CANCEL frame: whoever runs plain code looks for it at once. Others ignore the signal."""

INITIAL_CREDIT_CHUNKS: Final = 32
"""Chunks a worker may send of one call before the first CREDIT."""

_encode = msgspec.msgpack.Encoder().encode
encode_result: Final[Callable[[ResultHeader], bytes]] = _encode


def pack(kind: FrameKind, header: msgspec.Struct | None, *bodies: bytes | memoryview) -> list[bytes | memoryview]:
    """The buffers of one frame, ready for ``writelines`` / ``sendmsg``: no body is copied."""
    return pack_encoded(kind, b"" if header is None else _encode(header), bodies)


def pack_results(headers: list[bytes], bodies: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """A RESULTS frame of results whose headers are encoded already."""
    count = len(headers)
    start = bytes((0x91, 0x90 | count)) if count < 16 else b"\x91\xdd%b" % count.to_bytes(4, "big")  # [[ … ]]
    return pack_encoded(FrameKind.RESULTS, start + b"".join(headers), bodies)


def pack_encoded(kind: FrameKind, encoded: bytes, bodies: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """The buffers of a frame whose header is encoded already."""
    body_bytes = 0
    for body in bodies:
        body_bytes += len(body)
    prefix = PREFIX.pack(PREFIX.size - LENGTH_FIELD_BYTES + len(encoded) + body_bytes, kind, len(encoded))
    return [prefix + encoded, *bodies]
