"""The files of an input: found, marked, opened, and read one after another as one stream of rows.

The rule that must not break: a file is read only as long as it is the one that was accepted (its size and its marks);
anything else is ``InputChanged``, and nothing is guessed.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from stoker.errors import Conflict, InvalidInput, NotFound
from stoker_api.batches.compression import BROKEN, decompressed, without_compression
from stoker_api.batches.locations import Location, Place, check_resolved, parse_location
from stoker_api.batches.records import RowFormat
from stoker_api.batches.rows import Row, RowReader
from stoker_api.batches.text_rows import CsvRows, JsonlRows, Measured, TextRows

Json = dict[str, Any]
_SUFFIXES: Final = {
    ".jsonl": RowFormat.JSONL,
    ".ndjson": RowFormat.JSONL,
    ".csv": RowFormat.CSV,
    ".tsv": RowFormat.CSV,
    ".parquet": RowFormat.PARQUET,
    ".pq": RowFormat.PARQUET,
    ".txt": RowFormat.TEXT,
    ".md": RowFormat.TEXT,
    ".rst": RowFormat.TEXT,
    ".html": RowFormat.TEXT,
}
_PARQUET_MAGIC: Final = b"PAR1"
_BUFFER_BYTES: Final = 1024 * 1024
_MOST_FILES: Final = 100_000


class InputChanged(Conflict):
    """The input is not the one that the run was made for."""

    code = "input_changed"
    phase = "input"


class InputBroken(InvalidInput):
    """The input cannot be read any further."""

    code = "input_broken"
    phase = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One file, as it was when the run was accepted."""

    location: Location
    name: str
    """For messages."""
    format: RowFormat
    size_bytes: int
    marks: Json

    def fingerprint(self) -> Json:
        """What is kept to know it again."""
        return {"name": self.name, "size_bytes": self.size_bytes, **self.marks}


class InputFiles:
    """Finds and opens files; ``uploads`` is where those that callers sent are."""

    def __init__(self, roots: Sequence[str], uploads: Path) -> None:
        self._roots = roots
        self._uploads = uploads

    def find(self, urls: Sequence[str], given: RowFormat | None) -> list[InputFile]:
        """Every file of an input, in order; raises what is wrong with the first bad one."""
        found = [self._describe(location, given) for url in urls for location in self._expand(url)]
        if len(found) > _MOST_FILES:
            raise InvalidInput(f"{len(found)} files are more than {_MOST_FILES}")
        return found

    def check_unchanged(self, files: Sequence[InputFile], fingerprints: Sequence[Json]) -> None:
        """Raise ``InputChanged`` where files are not those of the fingerprints."""
        now = [file.fingerprint() for file in files]
        if len(now) != len(fingerprints):
            raise InputChanged(f"the input has {len(now)} files, and had {len(fingerprints)}", hint=_CHANGED_HINT)
        for file, was in zip(now, fingerprints, strict=True):
            if file != dict(was):
                raise InputChanged(f"{was.get('name')} has changed since the run was made", hint=_CHANGED_HINT)

    def check_one(self, file: InputFile) -> None:
        """The same for one file, right before or after it is read."""
        self.check_unchanged([self._describe(file.location, file.format)], [file.fingerprint()])

    def count(self, files: Sequence[InputFile], most: int) -> tuple[float, bool]:
        """Rows of an input, and whether that is exact: counted to ``most``, estimated by bytes beyond."""
        counted, stream = 0, RowStream(self, files)
        rows = stream.rows(0)
        for counted, _ in enumerate(rows, start=1):
            if counted >= most:
                break
        rows.close()
        fraction = stream.fraction()
        if counted < most or fraction <= 0:
            return float(counted), counted < most
        return counted / fraction, False

    def open_rows(self, file: InputFile) -> RowReader:
        """A reader of its rows."""
        raw = self._open(file.location)
        try:
            return _reader(raw, file)
        except BaseException:
            raw.close()
            raise

    def _expand(self, url: str) -> Iterator[Location]:
        location = parse_location(url, self._roots)
        if not location.has_glob or location.place is Place.UPLOAD:
            yield location
            return
        if location.place is Place.REMOTE:
            found = [parse_location(each, self._roots) for each in _remote().expand(location.path)]
        else:
            paths = sorted(glob.glob(location.path, recursive=True))
            found = [Location(Place.FILE, path) for path in paths if os.path.isfile(path)]
        if not found:
            raise NotFound(f"{url} matches no file")
        yield from found

    def _describe(self, location: Location, given: RowFormat | None) -> InputFile:
        if location.place is Place.REMOTE:
            size_bytes, marks = _remote().describe(location.path)
            name = location.path
        else:
            path = self._path(location)
            try:
                status = path.stat()
            except OSError as error:
                raise NotFound(
                    f"{location.path} cannot be read: {error.strerror}", hint="Is it still there?"
                ) from error
            if not path.is_file():
                raise InvalidInput(f"{location.path} is no file", hint="Name files, e.g. by folder/*.jsonl.")
            size_bytes, name = status.st_size, location.name
            marks = {"mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
        return InputFile(
            location=location, name=name, format=given or format_of(name), size_bytes=size_bytes, marks=marks
        )

    def _open(self, location: Location) -> BinaryIO:
        if location.place is Place.REMOTE:
            return cast(BinaryIO, _remote().open_read(location.path))
        try:
            return cast(BinaryIO, self._path(location).open("rb", buffering=0))
        except OSError as error:
            raise NotFound(f"{location.path} cannot be read: {error.strerror}") from error

    def _path(self, location: Location) -> Path:
        if location.place is Place.UPLOAD:
            return self._uploads / location.path
        return check_resolved(Path(location.path), self._roots)


class RowStream:
    """All rows of an input, numbered through. Used by one thread at a time."""

    def __init__(self, opener: InputFiles, files: Sequence[InputFile]) -> None:
        self._opener = opener
        self._files = files
        self._reader: RowReader | None = None
        self._sizes = [max(1, file.size_bytes) for file in files]
        self._at = 0

    def rows(self, start: int) -> Generator[Row, None, None]:
        """From row ``start`` on; raises ``InputChanged`` or ``InputBroken``."""
        number = 0
        for at, file in enumerate(self._files):
            self._at = at
            self._opener.check_one(file)
            reader = self._reader = self._opener.open_rows(file)
            try:
                yield from reader.rows(number, start)
            except BROKEN as error:
                self._opener.check_one(file)
                raise InputBroken(
                    f"{file.name} cannot be read after row {number + reader.count}: {error}",
                    hint="The file is damaged or cut short. Write it again and start a new run.",
                ) from error
            finally:
                reader.close()
            number += reader.count
            self._opener.check_one(file)

    def fraction(self) -> float:
        """How much has been read, from 0 to 1, by bytes."""
        if self._reader is None:
            return 0.0
        done = sum(self._sizes[: self._at]) + self._sizes[self._at] * self._reader.fraction()
        return done / sum(self._sizes)


def format_of(name: str) -> RowFormat:
    """By the suffix; raises ``InvalidInput`` for one that says nothing."""
    plain, _ = without_compression(name)
    suffix = os.path.splitext(plain)[1].lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise InvalidInput(
            f"the suffix of {name} does not say what is in it",
            hint=f"Give the format, or one of {known} (with .gz, .bz2, .xz or .zst behind it if compressed).",
        )
    return _SUFFIXES[suffix]


_CHANGED_HINT: Final = "What is done is kept. Put the old input back and resume, or start a new run on the new one."


def _reader(raw: BinaryIO, file: InputFile) -> RowReader:
    head = raw.read(4)
    raw.seek(0)
    is_parquet = head == _PARQUET_MAGIC
    if file.format is RowFormat.PARQUET:
        if not is_parquet:
            raise InvalidInput(
                f"{file.name} is no Parquet file: it begins with {head!r}", hint="Give the file its true suffix."
            )
        return _parquet_rows(raw, file.name)
    if is_parquet:
        raise InvalidInput(
            f"{file.name} is Parquet, and not {file.format.value}", hint="Give the file its true suffix."
        )
    measured = Measured(raw, file.size_bytes)
    plain = decompressed(io.BufferedReader(cast(io.RawIOBase, measured), _BUFFER_BYTES), file.name)
    if file.format is RowFormat.CSV:
        name, _ = without_compression(file.name)
        return CsvRows(plain, measured, file.name, "\t" if name.lower().endswith(".tsv") else ",")
    if file.format is RowFormat.TEXT:
        return TextRows(plain, measured, file.name)
    return JsonlRows(plain, measured, file.name)


def _parquet_rows(raw: BinaryIO, name: str) -> RowReader:
    try:
        from stoker_api.batches.parquet_files import ParquetRows
    except ImportError as error:
        raise InvalidInput(f"{name}: Parquet needs pyarrow", hint="Install stoker[batch].") from error
    return ParquetRows(raw, name)


def _remote() -> Any:
    try:
        from stoker_api.batches import remote_files
    except ImportError as error:
        raise InvalidInput("URLs need fsspec", hint="Install stoker[batch].") from error
    return remote_files
