"""From what was asked for to what a run is made of: input found and sampled, columns mapped, output checked.

The rule that must not break: the same checks run when a run is accepted, in a dry run, and when it is taken up; none
of them changes the input or an output that is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from stoker.errors import InvalidInput, PlatformError
from stoker_api.batches.input_files import InputFile, InputFiles, RowStream
from stoker_api.batches.items import Items, Sample, mapping_of, take_sample
from stoker_api.batches.locations import UPLOAD_SCHEME, Place, parse_location
from stoker_api.batches.mapping import Parameters, RowMapping
from stoker_api.batches.open_parts import OpenParts
from stoker_api.batches.outputs import Output, open_output, told, write_synced
from stoker_api.batches.part_files import PartFiles
from stoker_api.batches.records import NewBatch, RowFormat
from stoker_api.batches.seen_keys import SeenKeys

Json = dict[str, Any]
_COUNTED: Final = 100_000
_INLINE: Final = "upload_{id}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An input that fits its function."""

    files: tuple[InputFile, ...]
    fingerprints: tuple[Json, ...]
    sample: Sample
    mapping: RowMapping | None
    """None for an input without rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A run ready to go on."""

    items: Items
    open_parts: OpenParts
    output: Output
    start: int


class Preparation:
    """Everything here may wait for disks and networks: call it in a thread."""

    def __init__(self, folder: Path, roots: Sequence[str]) -> None:
        self._folder = folder
        self._roots = roots
        self._inputs = InputFiles(roots, self.uploads)

    @property
    def uploads(self) -> Path:
        """Files that callers sent."""
        return self._folder / "uploads"

    def folder_of(self, batch_id: str) -> Path:
        """What a run keeps while it is at work, and its output where the platform keeps that."""
        return self._folder / "runs" / batch_id

    def check(self, spec: NewBatch, parameters: Parameters) -> Checked:
        """Raise whatever is wrong with input, mapping or output before anything is spent."""
        files = self._find(spec)
        if spec.fingerprints and spec.items is None:
            self._inputs.check_unchanged(files, spec.fingerprints)
        sample = take_sample(RowStream(self._inputs, files))
        mapping = mapping_of(sample, parameters, spec.mapping, spec.key, is_text=_is_text(files))
        return Checked(
            files=tuple(files),
            fingerprints=tuple(file.fingerprint() for file in files),
            sample=sample,
            mapping=mapping,
        )

    def read_ahead(self, spec: NewBatch) -> None:
        """Bring the first rows into the file cache; whatever is wrong will be told when the run begins.

        What is read over the network stays in no cache here, and a slow server could hold up the platform's end.
        """
        with contextlib.suppress(PlatformError, OSError):
            places = {parse_location(url, self._roots).place for url in spec.input}
            if spec.items is None and Place.REMOTE not in places:
                take_sample(RowStream(self._inputs, self._find(spec)))

    def count(self, checked: Checked) -> tuple[float, bool]:
        """Rows of the input, and whether that is exact."""
        if checked.sample.is_whole:
            return float(len(checked.sample.rows)), True
        return self._inputs.count(checked.files, _COUNTED)

    def output(self, spec: NewBatch) -> Output:
        """The output of a run; raises where it may not be written."""
        return open_output(spec.output, spec.id, self.folder_of(spec.id), self._roots, overwrite=spec.overwrite)

    def open(self, spec: NewBatch, checked: Checked, committed_parts: int) -> Opened:
        """Take a run up behind its committed parts."""
        folder = self.folder_of(spec.id)
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        output = self.output(spec)
        output.prepare()
        start = committed_parts * spec.rows_per_part
        seen = None if spec.key is None else SeenKeys(folder / "keys.db")
        stream = RowStream(self._inputs, checked.files)
        mapping = checked.mapping or RowMapping(["value"], Parameters(), {}, None, is_text=False)
        files = PartFiles(output, spec.output_format, folder)
        parts = OpenParts(spec.id, folder, files, spec.rows_per_part, committed_parts)
        return Opened(items=Items(stream, mapping, seen, start), open_parts=parts, output=output, start=start)

    def put_inline(self, spec: NewBatch) -> str:
        """Rows that came with the request, as a file; twice is once."""
        name = _INLINE.format(id=spec.id.partition("_")[2])
        path = self.uploads / name
        if not path.exists():
            draft = path.with_suffix(".draft")
            encode = msgspec.json.Encoder().encode
            write_synced(draft, b"".join(encode(item) + b"\n" for item in spec.items or ()))
            with told(self.uploads):
                os.replace(draft, path)
        return f"{UPLOAD_SCHEME}{name}"

    def forget_inline(self, spec: NewBatch) -> None:
        """Remove that file."""
        (self.uploads / _INLINE.format(id=spec.id.partition("_")[2])).unlink(missing_ok=True)

    def forget_uploads(self, before_s: float, needed: Collection[str]) -> None:
        """Remove files that were sent before then, but for those that are ``needed`` (as URLs)."""
        for path in self.uploads.iterdir():
            with contextlib.suppress(FileNotFoundError):  # one that just came gets its name meanwhile
                if path.stat().st_mtime < before_s and f"{UPLOAD_SCHEME}{path.name}" not in needed:
                    path.unlink()

    def _find(self, spec: NewBatch) -> list[InputFile]:
        urls = spec.input if spec.items is None else (self.put_inline(spec),)
        files = self._inputs.find(urls, spec.input_format if spec.items is None else RowFormat.JSONL)
        if not files:
            raise InvalidInput("no input was named")
        return files


def _is_text(files: Sequence[InputFile]) -> bool:
    return any(file.format is RowFormat.CSV for file in files)
