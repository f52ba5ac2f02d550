"""Rows of JSONL and CSV files, and files of text that are a row each.

The rules that must not break: memory is bounded by the longest row that is allowed, whatever the file holds; the same
bytes give the same rows with the same numbers each time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from stoker.errors import InvalidInput
from stoker_api.batches.rows import LONGEST_ROW_BYTES, VALUE_COLUMN, Row, bad_row

_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r\n"
_SHOWN: Final = 80


class Measured(io.RawIOBase):
    """A file that knows how much of it has been read."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size = size_bytes
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def fraction(self) -> float:
        return min(1.0, self.position / self._size) if self._size else 1.0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class JsonlRows:
    """One JSON value per line."""

    def __init__(self, stream: BinaryIO, measured: Measured, name: str) -> None:
        self._stream = stream
        self._measured = measured
        self._name = name
        self.count = 0

    def fraction(self) -> float:
        return self._measured.fraction()

    def close(self) -> None:
        self._measured.close()

    def rows(self, first: int, start: int) -> Iterator[Row]:
        decode = msgspec.json.Decoder().decode
        line = 0
        for text in _lines(self._stream):
            line += 1
            if line == 1 and text is not None:
                text = text.removeprefix(_BOM)
            if text is not None and not text.strip(_SPACE):
                continue
            number = first + self.count
            self.count += 1
            if number >= start:
                yield _json_row(decode, number, f"{self._name}:{line}", text)


class CsvRows:
    """A head with the names of the columns, then one row per record."""

    def __init__(self, stream: BinaryIO, measured: Measured, name: str, delimiter: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._measured = measured
        self._name = name
        self._delimiter = delimiter
        self.count = 0

    def fraction(self) -> float:
        return self._measured.fraction()

    def close(self) -> None:
        self._measured.close()

    def rows(self, first: int, start: int) -> Iterator[Row]:
        csv.field_size_limit(LONGEST_ROW_BYTES)
        reader = csv.reader(self._text, delimiter=self._delimiter)
        columns: list[str] | None = None
        while True:
            line, number = reader.line_num + 1, first + self.count
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self.count += 1
                if number >= start:
                    yield bad_row(number, f"{self._name}:{line}", "invalid_csv", f"not CSV: {error}")
                continue
            if not fields:
                continue
            if columns is None:
                columns = _checked_head(fields, self._name)
                continue
            self.count += 1
            if number >= start:
                yield _csv_row(columns, fields, number, f"{self._name}:{line}")


class TextRows:
    """The whole file is one row."""

    def __init__(self, stream: BinaryIO, measured: Measured, name: str) -> None:
        self._stream = stream
        self._measured = measured
        self._name = name
        self.count = 0

    def fraction(self) -> float:
        return self._measured.fraction()

    def close(self) -> None:
        self._measured.close()

    def rows(self, first: int, start: int) -> Iterator[Row]:
        self.count = 1
        if first < start:
            return
        data = self._stream.read(LONGEST_ROW_BYTES + 1)
        if len(data) > LONGEST_ROW_BYTES:
            yield bad_row(first, self._name, "row_too_large", f"the file is longer than {LONGEST_ROW_BYTES} bytes")
            return
        try:
            text = data.removeprefix(_BOM).decode()
        except UnicodeDecodeError as error:
            yield bad_row(first, self._name, "invalid_text", f"not UTF-8: {error}")
            return
        yield Row(first, self._name, {"path": self._name, "text": text})


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; None for one that is too long, of which no more than a piece was held."""
    while True:
        line = stream.readline(LONGEST_ROW_BYTES + 1)
        if not line:
            return
        if len(line) <= LONGEST_ROW_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_ROW_BYTES)
        yield None


def _json_row(decode: Callable[[bytes], object], number: int, where: str, text: bytes | None) -> Row:
    if text is None:
        return bad_row(number, where, "row_too_large", f"the line is longer than {LONGEST_ROW_BYTES} bytes")
    try:
        value = decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = text[:_SHOWN].decode("utf-8", "replace").strip()
        return bad_row(number, where, "invalid_json", f"not JSON: {error}: {shown}")
    return Row(number, where, value if isinstance(value, dict) else {VALUE_COLUMN: value})


def _checked_head(fields: Sequence[str], name: str) -> list[str]:
    columns = [field.strip() for field in fields]
    if "" in columns or len(set(columns)) != len(columns):
        raise InvalidInput(
            f"{name}: the first line must name every column once, got {', '.join(map(repr, columns[:20]))}",
            hint="Add a first line with the names of the columns.",
        )
    return columns


def _csv_row(columns: Sequence[str], fields: Sequence[str], number: int, where: str) -> Row:
    if len(fields) != len(columns):
        return bad_row(number, where, "wrong_columns", f"{len(fields)} columns where the head has {len(columns)}")
    if any(not field.isascii() and not _is_text(field) for field in fields):
        return bad_row(number, where, "invalid_text", "not UTF-8")
    return Row(number, where, dict(zip(columns, fields, strict=True)))


def _is_text(field: str) -> bool:
    try:
        field.encode()
    except UnicodeEncodeError:
        return False
    return True
