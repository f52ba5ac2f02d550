"""Real traffic on record: when each function was called, how often and for how long. No payload, no caller.

The rule that must not break: it never holds up a call and never grows past its bound; a disk that is full costs rows of
the record, nothing else.
"""

from __future__ import annotations

import asyncio
import csv
import heapq
import io
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

log = logging.getLogger(__name__)

Row = tuple[str, float, int, float]
"""Function (``namespace/name``), Unix seconds, calls, execution seconds."""

COLUMNS: Final = ("function", "t", "n", "d")
"""The head of a record as CSV."""

_MERGED_S: Final = 10.0
"""Calls of a function within so long are one row: no policy lets a replica go in between."""
_FLUSH_S: Final = 5.0
_MOST_WAITING: Final = 100_000
_FILE_BYTES: Final = 8 * 1024 * 1024
_FILES_KEPT: Final = 16
_REORDERED_S: Final = 3600.0
"""A row is written when its calls have ended, so rows are out of order by as much as calls last."""


def csv_head(start_s: float, end_s: float) -> str:
    """The first lines: between which instants was recorded, and the columns."""
    return f"# start={start_s:.3f}\n# end={end_s:.3f}\n{','.join(COLUMNS)}\n"


def csv_lines(rows: Iterable[Row]) -> str:
    """One line per row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for function, at_s, count, duration_s in rows:
        writer.writerow((function, f"{at_s:.3f}", count, f"{duration_s:.4g}"))
    return text.getvalue()


class CallLog(Protocol):
    """Where the pool tells which calls came."""

    def note(self, function: str, at_s: float, count: int, duration_s: float) -> None:
        """``count`` calls came at ``at_s`` (Unix seconds), which run for ``duration_s`` each. Must be cheap."""


class NoCallLog:
    """Keeps nothing."""

    def note(self, function: str, at_s: float, count: int, duration_s: float) -> None:
        """Let it go."""


class FileCallLog:
    """Rows in one file that rotates. Async context manager; lives on the loop's thread and writes in another."""

    def __init__(self, path: Path, *, file_bytes: int = _FILE_BYTES, files_kept: int = _FILES_KEPT) -> None:
        self.path = path
        self.dropped = 0
        """Rows that could not be written."""
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._open: dict[str, list[float]] = {}
        """By function, the row that may still grow: start, calls, last arrival, execution seconds."""
        self._done: list[Row] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> FileCallLog:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.flush()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def note(self, function: str, at_s: float, count: int, duration_s: float) -> None:
        if not (math.isfinite(at_s) and math.isfinite(duration_s)) or count < 1:
            return
        row = self._open.get(function)
        if row is not None and 0 <= at_s - row[0] < _MERGED_S:
            row[1] += count
            row[2] = max(row[2], at_s)
            row[3] = max(row[3], duration_s)
            return
        if row is not None:
            self._close_row(function, row)
        self._open[function] = [at_s, float(count), at_s, duration_s]
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._write_soon)

    async def flush(self) -> None:
        """Write all that is known."""
        for function, row in self._open.items():
            self._close_row(function, row)
        self._open.clear()
        while self._writing is not None:
            await asyncio.wait({self._writing})
        if self._done:
            self._write_done()
            if self._writing is not None:
                await asyncio.wait({self._writing})

    def rows(self, since_s: float = 0.0, covers: Callable[[str], bool] = lambda function: True) -> Iterator[Row]:
        """What is in the files, by time; blocks, so iterate in a thread. A row that a crash cut short is left out."""
        waiting: list[tuple[float, str, int, float]] = []
        newest_s = -math.inf
        for function, at_s, count, duration_s in self._read():
            if at_s < since_s or not covers(function):
                continue
            heapq.heappush(waiting, (at_s, function, count, duration_s))
            newest_s = max(newest_s, at_s)
            while waiting and waiting[0][0] < newest_s - _REORDERED_S:
                yield _as_row(heapq.heappop(waiting))
        while waiting:
            yield _as_row(heapq.heappop(waiting))

    # --- small steps --------------------------------------------------------------------------------------------------

    def _close_row(self, function: str, row: list[float]) -> None:
        self._done.append((function, row[0], int(row[1]), row[2] - row[0] + row[3]))
        if len(self._done) > _MOST_WAITING:
            self.dropped += len(self._done) - _MOST_WAITING
            del self._done[:-_MOST_WAITING]

    def _write_soon(self) -> None:
        self._timer = None
        newest_s = max((row[2] for row in self._open.values()), default=0.0)
        for function in [name for name, row in self._open.items() if newest_s - row[0] >= _MERGED_S]:
            self._close_row(function, self._open.pop(function))
        if self._done and self._writing is None:
            self._write_done()
        if self._open and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._write_soon)

    def _write_done(self) -> None:
        rows, self._done = self._done, []
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, rows)
        self._writing.add_done_callback(self._written)

    def _written(self, _: asyncio.Future[None]) -> None:
        self._writing = None

    def _write(self, rows: list[Row]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.exists() and self.path.stat().st_size > self._file_bytes:
                self._rotate()
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(csv_lines(rows))
        except OSError as error:
            self.dropped += len(rows)
            log.warning("calls could not be recorded", extra={"rows": len(rows), "reason": str(error)})

    def _rotate(self) -> None:
        for number in range(self._files_kept - 1, 0, -1):
            source = self._numbered(number - 1)
            if source.exists():
                os.replace(source, self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def _read(self) -> Iterator[Row]:
        for number in range(self._files_kept - 1, -1, -1):
            try:
                file = open(self._numbered(number), encoding="utf-8", errors="replace", newline="")  # noqa: SIM115
            except OSError:
                continue
            with file:
                for cells in csv.reader(file):
                    row = _parsed(cells)
                    if row is not None:
                        yield row


def _parsed(cells: list[str]) -> Row | None:
    try:
        function, at_s, count, duration_s = cells
        row = (function, float(at_s), int(count), float(duration_s))
    except ValueError:
        return None
    return row if function and math.isfinite(row[1]) and math.isfinite(row[3]) and row[2] > 0 else None


def _as_row(entry: tuple[float, str, int, float]) -> Row:
    at_s, function, count, duration_s = entry
    return function, at_s, count, duration_s
