"""Cuts a byte stream into frames without copying large bodies.

The rule that must not break: a frame longer than what is buffered is received straight into its own memory, so a body
is copied at most once between the kernel and the code that decodes it; and a length that a peer merely claims costs no
memory before the bytes arrive.
"""

from __future__ import annotations

import mmap
from typing import Final, NamedTuple

from stoker_runtime.frames import LENGTH_FIELD_BYTES, MAX_FRAME_BYTES, PREFIX

_SMALL_BYTES: Final = 256 * 1024
_LAZY_BYTES: Final = 16 * 1024 * 1024
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Frame(NamedTuple):
    """One frame: its kind, its encoded header, and the bodies back to back."""

    kind: int
    header: memoryview
    body: memoryview


class BrokenFrame(Exception):
    """The peer does not speak the protocol; the connection is of no more use."""


class FrameBuffer:
    """``get_buffer`` and ``buffer_updated`` are those of ``asyncio.BufferedProtocol``; blocking readers use them."""

    __slots__ = ("_end", "_large", "_large_end", "_small", "_start")

    def __init__(self) -> None:
        self._small = bytearray(_SMALL_BYTES)
        self._start = 0
        self._end = 0
        self._large: bytearray | mmap.mmap | None = None
        self._large_end = 0

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where the next received bytes go; never empty."""
        if self._large is not None:
            return memoryview(self._large)[self._large_end :]
        return memoryview(self._small)[self._end :]

    def buffer_updated(self, received_bytes: int) -> list[Frame]:
        """Take note of what was received; the frames that are now complete."""
        if self._large is not None:
            self._large_end += received_bytes
            if self._large_end < len(self._large):
                return []
            frame = _cut(memoryview(self._large))
            self._large = None
            return [frame]
        self._end += received_bytes
        frames: list[Frame] = []
        while self._end - self._start >= PREFIX.size:
            length, _, header_bytes = PREFIX.unpack_from(self._small, self._start)
            if length > MAX_FRAME_BYTES or header_bytes + PREFIX.size - LENGTH_FIELD_BYTES > length:
                raise BrokenFrame(f"frame of {length} bytes with a header of {header_bytes}")
            total = LENGTH_FIELD_BYTES + length
            if self._end - self._start < total:
                if total > _SMALL_BYTES // 2:
                    self._move_to_large(total)
                    return frames
                break
            frames.append(_cut(memoryview(self._small)[self._start : self._start + total]))
            self._start += total
        self._make_room()
        return frames

    def _move_to_large(self, total: int) -> None:
        self._large = bytearray(total) if total < _LAZY_BYTES else mmap.mmap(-1, total, flags=_PRIVATE)
        self._large_end = self._end - self._start
        self._large[: self._large_end] = memoryview(self._small)[self._start : self._end]
        self._start = self._end = 0
        self._small = bytearray(_SMALL_BYTES)  # views of the old one are out with its frames

    def _make_room(self) -> None:
        rest = self._end - self._start
        if _SMALL_BYTES - self._end >= _SMALL_BYTES // 2:
            return
        fresh = bytearray(_SMALL_BYTES)  # frames that are out keep the old one alive
        fresh[:rest] = memoryview(self._small)[self._start : self._end]
        self._small, self._start, self._end = fresh, 0, rest


def _cut(view: memoryview) -> Frame:
    _, kind, header_bytes = PREFIX.unpack_from(view)
    body_start = PREFIX.size + header_bytes
    return Frame(kind, view[PREFIX.size : body_start], view[body_start:])
