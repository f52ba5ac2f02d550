"""One finished part of the output: its results in one file, its failures in another, each in the order of rows.

The rule that must not break: a part is written from the journal alone, so that writing it again gives the same bytes;
it is on disk before anybody is told of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from stoker.errors import InvalidInput
from stoker_api.batches.journal import PartJournal
from stoker_api.batches.outputs import Output, told
from stoker_api.batches.records import RowFormat

Json = dict[str, Any]
RESULT: Final = 0
FAILURE: Final = 1
_SLICE_ROWS: Final = 1000


class PartFiles:
    """Writes parts to an output."""

    def __init__(self, output: Output, format: RowFormat, folder: Path) -> None:
        self._output = output
        self._format = format
        self._types_path = folder / "result_types.arrow"

    def write(self, number: int, journal: PartJournal) -> tuple[Json | None, Json | None]:
        """The documents of the part's file and of its error file; None for one that would be empty."""
        kinds = list(journal.kinds())
        part = errors = None
        if RESULT in kinds:
            is_parquet = self._format is RowFormat.PARQUET
            fill = self._parquet if is_parquet else _lines
            part = self._put(f"part-{number:05d}.{self._format.value}", journal, RESULT, fill)
        if FAILURE in kinds:
            errors = self._put(f"errors-{number:05d}.jsonl", journal, FAILURE, _lines)
        return part, errors

    def _put(
        self, name: str, journal: PartJournal, kind: int, fill: Callable[[BinaryIO, Iterator[bytes]], None]
    ) -> Json:
        draft = self._output.draft(name)
        rows = sum(1 for each in journal.kinds() if each == kind)
        with told(draft.parent):
            with draft.open("w+b") as file:
                fill(file, (entry.payload for entry in journal.entries() if entry.kind == kind))
                file.flush()
                os.fsync(file.fileno())
                digest = _digest(file)
                size_bytes = file.seek(0, os.SEEK_END)
        self._output.put(name)
        return {"file": name, "rows": rows, "bytes": size_bytes, "sha256": digest}

    def _parquet(self, file: BinaryIO, lines: Iterator[bytes]) -> None:
        try:
            from stoker_api.batches.parquet_files import ParquetPart, ResultTypes
        except ImportError as error:
            raise InvalidInput("Parquet needs pyarrow", hint="Install stoker[batch].") from error
        part = ParquetPart(file, ResultTypes(self._types_path))
        held: list[Json] = []
        for line in lines:
            held.append(msgspec.json.decode(line))
            if len(held) == _SLICE_ROWS:
                part.write(held)
                held = []
        if held:
            part.write(held)
        part.close()


def _lines(file: BinaryIO, lines: Iterator[bytes]) -> None:
    for line in lines:
        file.write(line)
        file.write(b"\n")


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1024 * 1024):
        digest.update(piece)
    return digest.hexdigest()
