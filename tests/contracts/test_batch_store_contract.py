"""What every store of batch runs promises: one suite over each implementation."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.batch_rig import MemoryBatchStore

from stoker.errors import Conflict, NotFound
from stoker_api.batches.ports import BatchStore
from stoker_api.batches.records import ChunkRecord, Counts, NewBatch, RowFormat
from stoker_api.batches.states import ENDED, MOVES, BatchState, move
from stoker_api.stores.sqlite.batches import SqliteBatchStore, insert_batch
from stoker_api.stores.sqlite.database import WORK, Database

SPEC = NewBatch(
    id="batch_1",
    namespace="default",
    function="embed",
    ref="prod",
    method="encode",
    input=("upload:upload_0123456789.csv", "s3://bucket/*.parquet"),
    input_format=RowFormat.CSV,
    output="s3://bucket/out",
    output_format=RowFormat.PARQUET,
    mapping={"review": "text"},
    key="id",
    rows_per_part=7,
    max_concurrency=3,
    deadline_s=1_800_000_000.5,
    max_failed_fraction=0.25,
    overwrite=True,
    source="schedule:sched_1",
    fingerprints=({"name": "a.csv", "size_bytes": 3},),
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BatchStore]:
    if request.param == "memory":
        yield MemoryBatchStore()
        return
    async with Database(tmp_path / "work.db", WORK) as database:
        yield SqliteBatchStore(database)


def chunk(number: int, failed: int = 0) -> ChunkRecord:
    errors = {"file": f"errors-{number}", "rows": failed} if failed else None
    return ChunkRecord(
        batch_id="batch_1", number=number, rows=7, failed=failed, part={"file": f"part-{number}"}, errors=errors
    )


async def test_a_run_is_found_as_it_was_asked_for_and_added_once(store: BatchStore) -> None:
    assert await store.add(SPEC, 5.0)
    assert not await store.add(dataclasses.replace(SPEC, key="other"), 6.0)
    record = await store.find("batch_1")
    assert record.spec == SPEC
    assert (record.state, record.created_at_s, record.revision, record.problem) == (BatchState.QUEUED, 5.0, None, None)


async def test_rows_that_came_with_the_request_are_kept(store: BatchStore) -> None:
    spec = NewBatch(id="batch_2", namespace="default", function="embed", items=({"x": 1}, "text", None, [2.5]))
    await store.add(spec, 5.0)
    assert (await store.find("batch_2")).spec == spec


async def test_what_is_not_there_is_not_found(store: BatchStore) -> None:
    with pytest.raises(NotFound):
        await store.find("batch_9")
    assert await store.counts("batch_9") == Counts()


async def test_a_record_is_saved_over_the_state_that_was_read(store: BatchStore) -> None:
    await store.add(SPEC, 5.0)
    record = dataclasses.replace(
        await store.find("batch_1"),
        state=BatchState.FAILED,
        updated_at_s=7.0,
        started_at_s=6.0,
        ended_at_s=7.0,
        revision=4,
        problem={"code": "x", "errors": []},
        rows_total=9,
        is_published=True,
    )
    await store.save(record, BatchState.QUEUED)
    assert await store.find("batch_1") == record
    with pytest.raises(Conflict):
        await store.save(record, BatchState.QUEUED)


async def test_parts_are_noted_once_and_summed(store: BatchStore) -> None:
    await store.add(SPEC, 5.0)
    for number in (0, 1):
        await store.add_chunk(chunk(number, failed=number))
    with pytest.raises(Conflict):
        await store.add_chunk(chunk(1))
    assert list(await store.chunks("batch_1")) == [chunk(0), chunk(1, failed=1)]
    assert await store.counts("batch_1") == Counts(rows=14, failed=1, chunks=2)


async def test_runs_are_listed_newest_first_by_page_and_filter(store: BatchStore) -> None:
    for number in range(5):
        name = "embed" if number % 2 else "other"
        await store.add(dataclasses.replace(SPEC, id=f"batch_{number}", function=name), float(number))
    first = await store.page(limit=2)
    assert [record.id for record in first] == ["batch_4", "batch_3"]
    assert [record.id for record in await store.page(limit=9, before="batch_3")] == ["batch_2", "batch_1", "batch_0"]
    assert [record.id for record in await store.page(function="embed")] == ["batch_3", "batch_1"]
    assert not await store.page(namespace="other")
    assert not await store.page(state=BatchState.FAILED)


async def test_open_runs_and_those_that_ended_long_ago_are_found(store: BatchStore) -> None:
    for number, state in enumerate((BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED, BatchState.CANCELED)):
        await store.add(dataclasses.replace(SPEC, id=f"batch_{number}"), 1.0)
        record = await store.find(f"batch_{number}")
        ended_at_s = 9.0 if state in ENDED else None
        await store.save(dataclasses.replace(record, state=state, ended_at_s=ended_at_s), BatchState.QUEUED)
    assert [record.id for record in await store.open()] == ["batch_0", "batch_1"]
    assert sorted(await store.inputs_needed()) == sorted(3 * SPEC.input)
    assert await store.ended_before(10.0) == ["batch_3"]
    assert not await store.ended_before(9.0)


async def test_a_run_is_made_or_not_with_the_transaction_that_makes_it(tmp_path: Path) -> None:
    async with Database(tmp_path / "work.db", WORK) as database:
        with pytest.raises(RuntimeError):
            await database.write(lambda connection: _fail_after(insert_batch(connection, SPEC, 5.0)))
        with pytest.raises(NotFound):
            await SqliteBatchStore(database).find("batch_1")


def _fail_after(_: bool) -> None:
    raise RuntimeError("the tick was not written")


def test_what_has_succeeded_or_was_canceled_stays_so() -> None:
    for state in (BatchState.SUCCEEDED, BatchState.CANCELED):
        assert not MOVES[state]
        with pytest.raises(Conflict, match="cannot become"):
            move("batch_1", state, BatchState.QUEUED)
