"""The parts of the output that are being filled, and their way to the disk in the order of the input.

The rule that must not break: a part is committed once, when every row of it has ended, after all before it; what was
committed is never opened again. Everything here runs on one thread, off the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stoker_api.batches.journal import PartJournal
from stoker_api.batches.outputs import told
from stoker_api.batches.part_files import FAILURE, PartFiles
from stoker_api.batches.records import ChunkRecord

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A row that has ended."""

    number: int
    kind: int
    line: bytes


class OpenParts:
    """Journals of parts from ``first`` on."""

    def __init__(self, batch_id: str, folder: Path, files: PartFiles, rows_per_part: int, first: int) -> None:
        self._batch_id = batch_id
        self._folder = folder
        self._files = files
        self._rows_per_part = rows_per_part
        self._next = first
        self._journals: dict[int, PartJournal] = {}
        self._total: int | None = None

    def open(self) -> tuple[int, int, list[Json], set[int]]:
        """Take up what an earlier try left: rows done, rows failed, the first failures, numbers of rows done."""
        done = failed = 0
        errors: list[Json] = []
        numbers: set[int] = set()
        for path in sorted(self._folder.glob("part-*.journal")):
            number = int(path.stem.partition("-")[2])
            if number < self._next:
                path.unlink()  # committed just before the end of that try
                continue
            for entry in self._journal(number).entries():
                done += 1
                numbers.add(number * self._rows_per_part + entry.index)
                if entry.kind == FAILURE:
                    failed += 1
                    if len(errors) < 10:
                        errors.append(msgspec.json.decode(entry.payload))
        return done, failed, errors, numbers

    def add(self, rows: Iterable[Ended]) -> None:
        """Note rows that have ended."""
        with told(self._folder):
            for row in rows:
                number, index = divmod(row.number, self._rows_per_part)
                self._journal(number).add(index, row.kind, row.line)

    def add_and_write(self, rows: Iterable[Ended]) -> ChunkRecord | None:
        """Both in one go."""
        self.add(rows)
        return self.write_next()

    def end_at(self, total: int) -> None:
        """The input has so many rows."""
        self._total = total

    def write_next(self) -> ChunkRecord | None:
        """Write the next part if it is complete; None if it is not. ``committed`` must follow."""
        rows = self._rows_of(self._next)
        journal = self._journals.get(self._next)
        if journal is None or not rows or len(journal) < rows:
            return None
        part, errors = self._files.write(self._next, journal)
        failed = sum(1 for kind in journal.kinds() if kind == FAILURE)
        return ChunkRecord(
            batch_id=self._batch_id, number=self._next, rows=rows, failed=failed, part=part, errors=errors
        )

    def committed(self) -> None:
        """The part that ``write_next`` wrote is noted in the store."""
        self._journals.pop(self._next).remove()
        self._next += 1

    @property
    def next_part(self) -> int:
        return self._next

    @property
    def is_complete(self) -> bool:
        """Every row of the input is committed."""
        return self._total is not None and self._next * self._rows_per_part >= self._total

    def close(self) -> None:
        """Keep journals for later."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def _rows_of(self, number: int) -> int:
        if self._total is None:
            return self._rows_per_part
        return max(0, min(self._rows_per_part, self._total - number * self._rows_per_part))

    def _journal(self, number: int) -> PartJournal:
        journal = self._journals.get(number)
        if journal is None:
            with told(self._folder):
                journal = PartJournal(self._folder / f"part-{number:07d}.journal")
            self._journals[number] = journal
        return journal
