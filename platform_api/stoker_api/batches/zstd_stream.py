"""Zstandard, decompressed as it is read; the only file that asks pyarrow for it.

The rule that must not break: memory is bounded by the window that the file was written with, whatever its length.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import pyarrow


class ZstdStream(io.RawIOBase):
    """The plain content of one or several frames; raises ``OSError`` for what is damaged or cut short."""

    def __init__(self, file: BinaryIO) -> None:
        self._plain = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._plain.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
