"""Batch runs as values: what was asked for, and how far it is.

The rule that must not break: ``NewBatch`` holds everything that a run needs, so that it can be written in one
transaction with whatever starts it (a request, the tick of a schedule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from stoker_api.batches.states import BatchState

Json = dict[str, Any]
MOST_ROWS_PER_PART: Final = 1_000_000
ROWS_PER_PART: Final = 10_000
MAX_FAILED_FRACTION: Final = 0.5


class RowFormat(str, Enum):
    """How rows are written in a file."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"
    """A file is one row: ``path`` and ``text``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A run to be made. Only ``id``, ``namespace``, ``function`` and an input are needed."""

    id: str
    namespace: str
    function: str
    ref: str | None = None
    """Alias or number of a revision; the revision is pinned when the run starts."""
    method: str | None = None
    input: tuple[str, ...] = ()
    """URLs (globs allowed), or ids of uploads."""
    items: tuple[object, ...] | None = None
    """The rows themselves, in place of ``input``."""
    input_format: RowFormat | None = None
    """None: by the suffix."""
    output: str | None = None
    """A URL under an allowed prefix; None: kept by the platform, to be fetched."""
    output_format: RowFormat = RowFormat.JSONL
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Column to parameter."""
    key: str | None = None
    """Column whose values name the rows; None: the row's number, from 0."""
    rows_per_part: int = ROWS_PER_PART
    max_concurrency: int | None = None
    deadline_s: float | None = None
    """Unix seconds by which it should be done."""
    max_failed_fraction: float = MAX_FAILED_FRACTION
    overwrite: bool = False
    source: str = "api"
    """Who made it: ``api``, or ``schedule:<id>``."""
    fingerprints: tuple[Json, ...] = ()
    """Of each input file when the run was accepted; empty: taken when it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A run as the store has it."""

    spec: NewBatch
    state: BatchState
    created_at_s: float
    updated_at_s: float
    started_at_s: float | None = None
    ended_at_s: float | None = None
    revision: int | None = None
    problem: Json | None = None
    """Why it failed or paused by itself."""
    rows_total: int | None = None
    """Known once the input has been read to its end."""
    is_published: bool = False

    @property
    def id(self) -> str:
        return self.spec.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """One part of the output that is on disk for good."""

    batch_id: str
    number: int
    rows: int
    failed: int
    part: Json | None
    """``{file, rows, bytes, sha256}``; None where every row failed."""
    errors: Json | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a run is, by what is committed."""

    rows: int = 0
    failed: int = 0
    chunks: int = 0
