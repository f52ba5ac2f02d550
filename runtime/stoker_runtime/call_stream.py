"""The chunks of one streaming call on their way to its caller: handed on as they come, or collected into one answer.

The rule that must not break: a worker may never be further ahead of the consumer than its credit, so a slow client
costs bounded memory.
"""

from __future__ import annotations

from typing import Final

from stoker.errors import PayloadTooLarge, UnsupportedContent
from stoker_runtime.frames import INITIAL_CREDIT_CHUNKS
from stoker_runtime.invocation import Outcome

CREDIT_STEP: Final = 8
"""Credit goes back in steps: a frame for every chunk would double the traffic."""


class CallStream:
    """Flow control of one call, and its chunks where the caller wants one answer."""

    __slots__ = ("_chunks", "_consumed", "_content_types", "_max_bytes", "_owed", "_received", "_size_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._chunks: list[bytes | memoryview] = []
        self._content_types: set[str] = set()
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._received = 0
        self._consumed = 0
        self._owed = 0

    def received(self) -> None:
        self._received += 1

    def consumed(self, chunks: int) -> int:
        """The consumer took ``chunks``; the credit to send to the worker now (0 = not yet)."""
        self._consumed += chunks
        self._owed += chunks
        if self._owed < CREDIT_STEP:
            return 0
        credit, self._owed = self._owed, 0
        return credit

    @property
    def waits_for_consumer(self) -> bool:
        """Whether the worker stands still because the consumer does."""
        return self._received - self._consumed >= INITIAL_CREDIT_CHUNKS - CREDIT_STEP

    def collect(self, chunk: bytes | memoryview, content_type: str) -> bool:
        """Keep a chunk; False when the whole has become too large."""
        self._size_bytes += len(chunk) + 1
        self._chunks.append(chunk)
        self._content_types.add("" if content_type == "application/json" else content_type)
        return self._size_bytes <= self._max_bytes

    def too_large(self) -> Outcome:
        return Outcome(
            error=PayloadTooLarge(
                f"the streamed result is over {self._max_bytes} bytes",
                hint="Ask for the stream itself (Accept: text/event-stream), or return less.",
                phase="encode",
            )
        )

    def collected(self) -> Outcome:
        """The stream ended well: a JSON array, or bytes of one content type one after the other."""
        if self._content_types <= {""}:
            return Outcome(b"[" + b",".join(self._chunks) + b"]")
        if len(self._content_types) == 1:
            return Outcome(b"".join(self._chunks), next(iter(self._content_types)))
        return Outcome(
            error=UnsupportedContent(
                f"the stream mixes content types ({', '.join(sorted(self._content_types))}), which one answer cannot",
                hint="Ask for the stream itself with Accept: text/event-stream.",
            )
        )
