"""Rows made ready to be called, some hundred at a time, off the event loop.

The rule that must not break: what a slab holds depends on the input alone, so that a run that is taken up again sees
the same items under the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from stoker.errors import InvalidInput
from stoker_api.batches.input_files import RowStream
from stoker_api.batches.mapping import Parameters, RowMapping
from stoker_api.batches.rows import Row, RowProblem
from stoker_api.batches.seen_keys import SeenKeys

SLAB_ROWS: Final = 256
SLAB_BYTES: Final = 1024 * 1024
SAMPLE_ROWS: Final = 200


@dataclass(slots=True)
class Item:
    """One row, as the run takes it."""

    number: int
    where: str
    key: bytes | None
    body: bytes
    problem: RowProblem | None = None


class Items:
    """Slabs of items from row ``start`` on. Used by one thread at a time."""

    def __init__(self, stream: RowStream, mapping: RowMapping, seen: SeenKeys | None, start: int) -> None:
        self._stream = stream
        self._mapping = mapping
        self._seen = seen
        self._start = start
        self._rows = stream.rows(start if seen is None else 0)
        self.is_stopped = False
        """Set from outside: what is under way ends soon."""

    def next_slab(self) -> list[Item]:
        """The next ones; empty at the end."""
        first = self._catch_up()
        slab: list[Item] = []
        size_bytes = 0
        for row in chain(first, islice(self._rows, SLAB_ROWS)):
            item = self._item(row)
            slab.append(item)
            size_bytes += len(item.body)
            if size_bytes >= SLAB_BYTES:
                break
        if self._seen is not None:
            self._mark_doubles(slab, self._seen)
        return slab

    def close(self) -> None:
        """Close files."""
        self._rows.close()
        if self._seen is not None:
            self._seen.close()

    def fraction(self) -> float:
        """How much of the input has been read."""
        return self._stream.fraction()

    def _catch_up(self) -> list[Row]:
        """Note the keys of rows that are committed; the first row that is not."""
        if self._seen is None:
            return []
        held: list[tuple[int, bytes]] = []
        for row in self._rows if self._start else ():
            if self.is_stopped:
                return []
            if row.number >= self._start:
                self._seen.owners(held)
                self._start = 0
                return [row]
            key = self._mapping.key(row.number, row.values)
            if not isinstance(key, RowProblem):
                held.append((row.number, key))
            if len(held) >= SLAB_ROWS:
                self._seen.owners(held)
                held.clear()
        return []

    def _item(self, row: Row) -> Item:
        key = self._mapping.key(row.number, row.values)
        if row.values is None:
            return Item(row.number, row.where, None if isinstance(key, RowProblem) else key, b"", row.problem)
        if isinstance(key, RowProblem):
            return Item(row.number, row.where, None, b"", key)
        body = self._mapping.body(row.values)
        if isinstance(body, RowProblem):
            return Item(row.number, row.where, key, b"", body)
        return Item(row.number, row.where, key, body)

    def _mark_doubles(self, slab: Sequence[Item], seen: SeenKeys) -> None:
        keyed = [item for item in slab if item.key is not None]
        owners = seen.owners([(item.number, item.key or b"") for item in keyed])
        for item, owner in zip(keyed, owners, strict=True):
            if owner != item.number and item.problem is None:
                item.problem = RowProblem("duplicate_key", f"row {owner} has the same key")


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of an input."""

    rows: tuple[Row, ...]
    is_whole: bool

    @property
    def columns(self) -> list[str]:
        """Every column that any of them has, in order."""
        found: dict[str, None] = {}
        for row in self.rows:
            found.update(dict.fromkeys(row.values or ()))
        return list(found)


def take_sample(stream: RowStream) -> Sample:
    """Read the beginning; raises ``InvalidInput`` for an input of which no row can be read."""
    rows = stream.rows(0)
    found = tuple(islice(rows, SAMPLE_ROWS))
    is_whole = len(found) < SAMPLE_ROWS
    bad = [row for row in found if row.problem is not None]
    if bad and len(bad) == len(found):
        shown = "; ".join(f"{row.where}: {row.problem.message}" for row in bad[:3] if row.problem is not None)
        raise InvalidInput(
            f"not one of the first {len(found)} rows can be read: {shown}",
            hint="Is the file what its suffix says?",
        )
    rows.close()
    return Sample(found, is_whole)


def mapping_of(
    sample: Sample, parameters: Parameters, mapping: Mapping[str, str], key: str | None, *, is_text: bool
) -> RowMapping | None:
    """How rows become calls; None for an input without rows. Raises ``MappingFailed``."""
    if not sample.rows:
        return None
    return RowMapping(sample.columns, parameters, mapping, key, is_text=is_text)
