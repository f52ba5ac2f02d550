"""The results of one unfinished part, as they come: what is in here need not be run again after a crash.

The rule that must not break: a record that was not written whole is as if it had never been; the first record of a row
counts. Results lie on disk and only their places in memory.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<IIBI")
"""Row within the part, length, kind, CRC-32 of all of it."""
_MARK: Final = b"stoker-part-1\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row's end."""

    index: int
    """Row within the part."""
    kind: int
    payload: bytes


class PartJournal:
    """Append-only file. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[int, tuple[int, int, int]] = {}
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._end = self._load()

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def __len__(self) -> int:
        return len(self._places)

    def kinds(self) -> Iterator[int]:
        """Of every row that has ended."""
        return (kind for _, _, kind in self._places.values())

    def add(self, index: int, kind: int, payload: bytes) -> None:
        """Note a row's end; raises ``OSError`` where the disk is full, with nothing changed."""
        if index in self._places:
            return
        checksum = zlib.crc32(payload, zlib.crc32(_HEAD.pack(index, len(payload), kind, 0)))
        record = _HEAD.pack(index, len(payload), kind, checksum) + payload
        written = 0
        while written < len(record):
            written += os.pwrite(self._descriptor, record[written:], self._end + written)
        self._places[index] = (self._end + _HEAD.size, len(payload), kind)
        self._end += len(record)

    def entries(self) -> Iterator[Entry]:
        """All, in the order of rows."""
        for index in sorted(self._places):
            place, length, kind = self._places[index]
            yield Entry(index, kind, os.pread(self._descriptor, length, place))

    def close(self) -> None:
        """Keep the file for later."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Its part is on disk for good."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _load(self) -> int:
        size_bytes = os.fstat(self._descriptor).st_size
        if os.pread(self._descriptor, len(_MARK), 0) != _MARK:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, _MARK, 0)
            return len(_MARK)
        at = len(_MARK)
        while at + _HEAD.size <= size_bytes:
            index, length, kind, checksum = _HEAD.unpack(os.pread(self._descriptor, _HEAD.size, at))
            if at + _HEAD.size + length > size_bytes:
                break
            payload = os.pread(self._descriptor, length, at + _HEAD.size)
            if zlib.crc32(payload, zlib.crc32(_HEAD.pack(index, length, kind, 0))) != checksum:
                break
            self._places.setdefault(index, (at + _HEAD.size, length, kind))
            at += _HEAD.size + length
        os.ftruncate(self._descriptor, at)
        return at
