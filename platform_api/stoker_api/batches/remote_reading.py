"""A file behind a URL, read from its beginning to its end over whatever its server can do.

The rule that must not break: what the store's own library raises comes out as an error of ours, never as a fault of
the file: a connection that broke says nothing about what is in it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, Final

from stoker.errors import InvalidInput

_BLOCK_BYTES: Final = 4 * 1024 * 1024
_STREAMED: Final = 0


class RemoteFile(io.RawIOBase):
    """Reads in blocks, by ranges; where the server knows none, as one stream."""

    def __init__(
        self, url: str, open_file: Callable[[int], BinaryIO], told: Callable[[], AbstractContextManager[None]]
    ):
        self._url = url
        self._open = open_file
        self._told = told
        self._position = 0
        self._is_streamed = self._has_jumped = False
        with told():
            self._file = open_file(_BLOCK_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        target = offset if whence == os.SEEK_SET else None
        if target == self._position:
            return self._position
        self._has_jumped = self._has_jumped or target != 0
        try:
            with self._told():
                self._file.seek(offset, whence)
                self._position = self._file.tell()
        except InvalidInput:  # it is a stream
            if target != 0:
                raise self._no_ranges() from None
            self._stream_from(0)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self._some(len(buffer))
        except InvalidInput:  # fsspec learns with the second block that the server sends the whole file each time
            if self._is_streamed or self._has_jumped:
                raise self._no_ranges() from None
            self._stream_from(self._position)
            data = self._some(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _some(self, size: int) -> bytes:
        with self._told():
            return self._file.read(size)

    def _stream_from(self, position: int) -> None:
        """Begin again as a stream, and leave out what was read."""
        self._file.close()
        self._is_streamed, self._position = True, position
        with self._told():
            self._file = self._open(_STREAMED)
        while position > 0:
            left_out = self._some(min(position, _BLOCK_BYTES))
            if not left_out:
                return
            position -= len(left_out)

    def _no_ranges(self) -> InvalidInput:
        return InvalidInput(
            f"{self._url} cannot be read out of order: its server takes no range requests, which Parquet needs",
            hint="Upload the file instead, or offer it as JSONL or CSV.",
        )
