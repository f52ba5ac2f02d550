"""The bytes of an answer.

The rule that must not break: nothing that user code names or says can start a line of the head; what HTTP frames by
(length, transfer coding, connection) is ours alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from stoker_api.gateway.refusals import InvalidAnswer

JSON_TYPE: Final = "application/json"
KNOWN_TYPES: Final = {
    "": b"application/json",
    "application/json": b"application/json",
    "application/octet-stream": b"application/octet-stream",
}
"""Content types that need no check."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_PLAIN: Final = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: %b\r\ncontent-length: %d\r\nserver-timing: %b\r\nx-request-id: %b\r\n\r\n%b"
)
_BODILESS: Final = frozenset({204, 304})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OURS: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "server",
        "server-timing",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)


def checked_status(status: int) -> int:
    """A final status; raises ``InvalidAnswer``."""
    if not 200 <= status <= 599:
        raise InvalidAnswer(
            f"the function answered with status {status}", hint="A stoker.Response takes a status from 200 to 599."
        )
    return status


def checked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """User headers that may be sent, without those that are the gateway's; raises ``InvalidAnswer``."""
    checked = []
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidAnswer(
                f"the function answered with header {name[:64]!r}, whose name or value HTTP cannot carry",
                hint="Names are letters, digits and -; values are printable Latin-1 without line breaks.",
            )
        if name.lower() not in _OURS:
            checked.append((name.lower(), value))
    return checked


def checked_type(content_type: str) -> str:
    """A content type that may be sent; raises ``InvalidAnswer``."""
    if not _VALUE.fullmatch(content_type):
        raise InvalidAnswer(f"the function answered with content type {content_type[:64]!r}")
    return content_type


def render_head(
    status: int,
    common: bytes,
    *,
    content_type: str,
    body_bytes: int | None,
    timing: bytes,
    request_id: str,
    keep_alive: bool,
    headers: Iterable[tuple[str, str]] = (),
    chunked: bool = False,
) -> bytes:
    """Status line and headers. ``body_bytes`` None: the length is not known (chunked, or up to the close)."""
    parts = [STATUS_LINE[status], common]
    if status not in _BODILESS:
        parts.append(b"content-type: " + content_type.encode("latin-1") + b"\r\n")
        if body_bytes is not None:
            parts.append(b"content-length: %d\r\n" % body_bytes)
    for name, value in headers:
        parts.append(f"{name}: {value}\r\n".encode("latin-1"))
    if timing:
        parts.append(b"server-timing: " + timing + b"\r\n")
    parts.append(b"x-request-id: " + request_id.encode("latin-1") + b"\r\n")
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def plain_answer(common: bytes, content_type: bytes, body: bytes | memoryview, timing: bytes, request_id: str) -> bytes:
    """The whole answer that nearly every call gets (200, keep-alive, no headers of the user's), in one step."""
    return _PLAIN % (
        common,
        content_type,
        len(body),
        timing,
        request_id.encode(),
        body,
    )


def has_body(status: int) -> bool:
    """Whether HTTP lets an answer of this status carry a body."""
    return status not in _BODILESS
