"""Where a call's time went, as a header and as JSON.

The rule that must not break: the phases are those of ``stoker_runtime.receipt``; nothing here measures.
"""

from __future__ import annotations

import base64

import msgspec

from stoker_api.gateway.answer import JSON_TYPE
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.invocation import Invocation
from stoker_runtime.receipt import receipt as measure
from stoker_runtime.receipt import server_timing

__all__ = ["as_json", "receipt", "refused_timing", "server_timing", "with_receipt"]

_encode = msgspec.json.Encoder().encode


def receipt(invocation: Invocation) -> dict[str, object]:
    """The receipt of an ended invocation."""
    measured = measure(invocation)
    return {
        "phases_ms": measured.phases_ms,
        "cold": measured.cold,
        "batch_size": measured.batch_size,
        "replica": measured.replica,
        "revision": measured.revision,
        "attempt": measured.attempt,
        "prewarmed": measured.prewarmed,
        "request_id": invocation.request_id,
    }


def with_receipt(body: bytes | memoryview, content_type: str, invocation: Invocation) -> bytes:
    """``{"result": …, "receipt": {…}}``."""
    return b'{"result":%b,"receipt":%b}' % (as_json(body, content_type), _encode(receipt(invocation)))


def as_json(body: bytes | memoryview, content_type: str) -> bytes:
    """A result inside a JSON document: JSON as it is, text as a string, other bytes as base64."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON_TYPE) or media.endswith("+json"):
        return bytes(body) or b"null"
    raw = bytes(body)
    if media.startswith("text/"):
        return _encode(raw.decode("utf-8", "replace"))
    return _encode({"content_type": content_type, "base64": base64.b64encode(raw).decode("ascii")})


def refused_timing(started_ns: int) -> bytes:
    """``Server-Timing`` of a request that became no invocation."""
    elapsed_ms = (monotonic_ns() - started_ns) / 1e6 if started_ns else 0.0
    return b"total;dur=%.3f" % elapsed_ms
