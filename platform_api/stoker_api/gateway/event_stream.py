"""Server-sent events as bytes.

The rule that must not break: no payload can end its own event, or begin another.
"""

from __future__ import annotations

from typing import Final

CONTENT_TYPE: Final = "text/event-stream"


def event(name: str, data: bytes) -> bytes:
    """One event; a line break in ``data`` becomes a second ``data:`` line."""
    if b"\n" in data or b"\r" in data:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        data = b"\ndata: ".join(lines)
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), data)
