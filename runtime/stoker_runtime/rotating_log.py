"""A function's log on disk: JSON lines, at most two files of a fixed size.

The rule that must not break: whatever a function prints, its log never takes more than twice ``max_bytes``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

MAX_LOG_BYTES: Final = 10 * 1024 * 1024
MAX_LINE_CHARS: Final = 16 * 1024


class LogLine(msgspec.Struct, frozen=True):
    """One line that a worker printed."""

    time: str
    replica: str
    invocation: str
    stream: str
    line: str


class RotatingLog:
    """Appends lines; when the file is full, it becomes ``<name>.1`` and a new one begins."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(path, "ab")  # noqa: SIM115  # held for the life of the log
        self._size = self._file.tell()

    def append(self, lines: list[LogLine]) -> None:
        """Write lines; a full disk loses them, and nothing else."""
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            self._file.write(data)
            self._file.flush()
            self._size += len(data)
        except OSError:
            pass

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        self._file = open(self._path, "ab")  # noqa: SIM115
        self._size = 0
