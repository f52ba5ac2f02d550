"""Group commit: many writes, one fsync, and each of them still stands or falls alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stoker.errors import Conflict
from stoker_api.jobs.records import NewJob
from stoker_api.stores.failures import StorageFailed
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.jobs import JobExists, insert_job


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "work.db", WORK) as opened:
        await opened.write(lambda connection: connection.execute("CREATE TABLE t (n INTEGER UNIQUE, text TEXT)"))
        yield opened


def add(number: int, text: str = "") -> object:
    return lambda connection: connection.execute("INSERT INTO t VALUES (?, ?)", (number, text)).rowcount


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda connection: [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")])


async def test_concurrent_writes_share_a_commit(database: Database) -> None:
    commits: list[str] = []
    await database.write(lambda connection: connection.set_trace_callback(commits.append))
    await asyncio.gather(*(database.write(add(number)) for number in range(100)))
    await database.write(lambda connection: connection.set_trace_callback(None))
    assert await numbers(database) == list(range(100))
    assert commits.count("COMMIT") <= 4


async def test_a_write_that_fails_undoes_itself_alone(database: Database) -> None:
    results = await asyncio.gather(
        database.write(add(1)),
        database.write(add(2)),
        database.write(add(1)),
        database.write(add(3)),
        return_exceptions=True,
    )
    assert [isinstance(result, sqlite3.IntegrityError) for result in results] == [False, False, True, False]
    assert await numbers(database) == [1, 2, 3]


async def test_a_write_too_large_for_the_disk_does_not_stop_the_others(database: Database) -> None:
    (pages,) = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    results = await asyncio.gather(
        database.write(add(1)), database.write(add(2, "x" * 1_000_000)), database.write(add(3)), return_exceptions=True
    )
    assert isinstance(results[1], StorageFailed)
    assert await numbers(database) == [1, 3]


async def test_a_caller_that_goes_away_leaves_the_others_alone(database: Database) -> None:
    leaving = asyncio.ensure_future(database.write(add(1)))
    staying = asyncio.ensure_future(database.write(add(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert await numbers(database) == [1, 2]


async def test_a_read_sees_every_write_that_has_returned(database: Database) -> None:
    for number in range(20):
        await database.write(add(number))
        assert number in await numbers(database)


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async with Database(tmp_path / "work.db", WORK) as database:
        pass
    with pytest.raises(Conflict, match="closed"):
        await database.write(add(1))


async def test_a_job_is_inserted_once_inside_another_transaction(database: Database) -> None:
    job = NewJob(id="job_1", namespace="default", function="double", body=b"1")
    assert await database.write(lambda connection: insert_job(connection, job, 100.0))
    assert not await database.write(lambda connection: insert_job(connection, job, 200.0))
    other = NewJob(id="job_1", namespace="default", function="double", body=b"2")
    with pytest.raises(JobExists):
        await database.write(lambda connection: insert_job(connection, other, 300.0))
