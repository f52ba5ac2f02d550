"""Parquet in and out; the only file that imports pyarrow.

The rules that must not break: one slice of one row group is held at a time; a row group that cannot be read costs its
own rows, each of which is told, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow
import pyarrow.parquet

from stoker.errors import InvalidInput
from stoker_api.batches.rows import Row, bad_row

_SLICE_ROWS: Final = 256
_BUFFER_BYTES: Final = 1024 * 1024


class ParquetRows:
    """The rows of one file."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self._source = file
        self.count = 0
        try:
            self._file = pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise InvalidInput(f"{name} is no Parquet file: {error}") from error
        self.total: int = self._file.metadata.num_rows

    def fraction(self) -> float:
        return self.count / self.total if self.total else 1.0

    def close(self) -> None:
        self._file.close(force=True)
        self._source.close()

    def rows(self, first: int, start: int) -> Iterator[Row]:
        for group in range(self._file.metadata.num_row_groups):
            after = first + self.count + self._file.metadata.row_group(group).num_rows
            if after > start:
                yield from self._group(group, first, after, start)
            self.count = after - first

    def _group(self, group: int, first: int, after: int, start: int) -> Iterator[Row]:
        try:
            for piece in self._file.iter_batches(batch_size=_SLICE_ROWS, row_groups=[group], use_threads=False):
                if first + self.count + len(piece) <= start:
                    self.count += len(piece)
                    continue
                for values in piece.to_pylist():
                    self.count += 1
                    if first + self.count > start:
                        yield Row(first + self.count - 1, f"{self._name}: row {self.count - 1}", values)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            message = f"row group {group} cannot be read: {error}"
            for number in range(max(first + self.count, start), after):
                yield bad_row(number, f"{self._name}: row {number - first}", "corrupt_row_group", message)


class ResultTypes:
    """The schema of all parts of an output, fixed by the first part that has a row."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> pyarrow.Schema | None:
        if not self._path.exists():
            return None
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(self._path.read_bytes()))

    def save(self, schema: pyarrow.Schema) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(schema.serialize().to_pybytes())
        draft.replace(self._path)


class ParquetPart:
    """Writes the rows of one part, some thousands at a time."""

    def __init__(self, file: BinaryIO, types: ResultTypes) -> None:
        self._file = file
        self._types = types
        self._schema = types.load()
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows; raises ``InvalidInput`` where their types differ from those of the first part."""
        try:
            table = pyarrow.Table.from_pylist(list(rows), schema=self._schema)
        except (pyarrow.ArrowException, OverflowError) as error:
            raise InvalidInput(
                f"results do not share one type, as the columns of Parquet must: {error}",
                hint="Take JSONL for the output.",
            ) from error
        if self._writer is None:
            if self._schema is None:
                self._schema = table.schema
                self._types.save(table.schema)
            self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()
