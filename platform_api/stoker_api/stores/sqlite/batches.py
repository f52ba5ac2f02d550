"""Batch runs on SQLite.

The rule that must not break: a run's state changes only over the state that was read, and a part is noted once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stoker.errors import Conflict, NotFound
from stoker_api.batches.record_json import spec_from_json, spec_to_json
from stoker_api.batches.records import BatchRecord, ChunkRecord, Counts, NewBatch
from stoker_api.batches.states import ENDED, BatchState
from stoker_api.stores.sqlite.database import Database, statements

_SQL: Final = statements("batches")
Row = tuple[Any, ...]
OnTerminal = Callable[[sqlite3.Connection, BatchRecord], None]


def insert_batch(connection: sqlite3.Connection, batch: NewBatch, now_s: float) -> bool:
    """Add a run inside the caller's transaction; False where one of this id is there already."""
    row = {
        "id": batch.id,
        "namespace": batch.namespace,
        "function": batch.function,
        "source": batch.source,
        "now_s": now_s,
        "spec_json": spec_to_json(batch),
    }
    return connection.execute(_SQL["add_batch"], row).rowcount == 1


class SqliteBatchStore:
    """Implements ``BatchStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_terminal: list[OnTerminal] = []
        """Called with the connection and the run in the transaction that ends it, or in which it pauses by itself."""

    async def add(self, batch: NewBatch, now_s: float) -> bool:
        return await self._database.write(lambda connection: insert_batch(connection, batch, now_s))

    async def find(self, batch_id: str) -> BatchRecord:
        rows = await self._rows("find_batch", {"id": batch_id})
        if not rows:
            raise NotFound(f"no batch run {batch_id!r}", hint="`stoker batch list` shows those that there are.")
        return _record(rows[0])

    async def page(
        self,
        *,
        namespace: str | None = None,
        function: str | None = None,
        state: BatchState | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[BatchRecord]:
        row = {
            "namespace": namespace,
            "function": function,
            "state": None if state is None else state.value,
            "before": before,
            "limit": limit,
        }
        return [_record(found) for found in await self._rows("list_batches", row)]

    async def open(self) -> Sequence[BatchRecord]:
        return [_record(found) for found in await self._rows("open_batches", {})]

    async def ended_before(self, before_s: float) -> Sequence[str]:
        return [str(batch_id) for (batch_id,) in await self._rows("ended_batches", {"before_s": before_s})]

    async def inputs_needed(self) -> Sequence[str]:
        return [str(url) for (url,) in await self._rows("inputs_needed", {})]

    async def save(self, record: BatchRecord, was: BatchState) -> None:
        row = {
            "id": record.id,
            "was": was.value,
            "state": record.state.value,
            "updated_at_s": record.updated_at_s,
            "started_at_s": record.started_at_s,
            "ended_at_s": record.ended_at_s,
            "revision": record.revision,
            "rows_total": record.rows_total,
            "is_published": int(record.is_published),
            "spec_json": spec_to_json(record.spec),
            "problem_json": _dumped(record.problem),
        }

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["save_batch"], row).rowcount != 1:
                raise Conflict(f"{record.id} is not {was.value} any more", hint="Look again, and try again.")
            has_stuck = (
                record.state is BatchState.PAUSED and was is not BatchState.PAUSED and record.problem is not None
            )
            if has_stuck or (record.state in ENDED and was not in ENDED):
                for hook in self.on_terminal:
                    hook(connection, record)

        await self._database.write(work)

    async def add_chunk(self, chunk: ChunkRecord) -> None:
        row = {
            "batch_id": chunk.batch_id,
            "number": chunk.number,
            "rows": chunk.rows,
            "failed": chunk.failed,
            "part_json": _dumped(chunk.part),
            "errors_json": _dumped(chunk.errors),
        }

        def work(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(_SQL["add_chunk"], row)
            except sqlite3.IntegrityError as error:
                raise Conflict(f"part {chunk.number} of {chunk.batch_id} has been noted") from error

        await self._database.write(work)

    async def chunks(self, batch_id: str) -> Sequence[ChunkRecord]:
        return [
            ChunkRecord(
                batch_id=found, number=number, rows=rows, failed=failed, part=_loaded(part), errors=_loaded(errors)
            )
            for found, number, rows, failed, part, errors in await self._rows("chunks", {"batch_id": batch_id})
        ]

    async def counts(self, batch_id: str) -> Counts:
        ((rows, failed, chunks),) = await self._rows("counts", {"batch_id": batch_id})
        return Counts(rows=rows, failed=failed, chunks=chunks)

    async def _rows(self, name: str, row: Mapping[str, object]) -> list[Row]:
        return await self._database.read(lambda connection: connection.execute(_SQL[name], row).fetchall())


def _record(row: Row) -> BatchRecord:
    spec_json, state, created, updated, started, ended, revision, problem_json, rows_total, is_published = row
    return BatchRecord(
        spec=spec_from_json(spec_json),
        state=BatchState(state),
        created_at_s=created,
        updated_at_s=updated,
        started_at_s=started,
        ended_at_s=ended,
        revision=revision,
        problem=_loaded(problem_json),
        rows_total=rows_total,
        is_published=bool(is_published),
    )


def _dumped(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
