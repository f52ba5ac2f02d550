"""The registry in memory is what is on disk: also when a write fails, or its caller leaves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.memory_store import MemoryStore

from stoker.errors import Conflict, InvalidInput, InvalidOption, NotFound
from stoker.options import Scaling
from stoker_api.registry import Registry
from stoker_api.stores.failures import StorageFailed
from stoker_api.stores.records import AliasRecord, FunctionKey, RevisionRecord
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.store import SqliteStore
from stoker_runtime.clock import VirtualClock

KEY = FunctionKey("default", "double")


def revision(number: int) -> RevisionRecord:
    return RevisionRecord(
        key=KEY,
        number=number,
        created_at="2026-01-01T00:00:00+00:00",
        handler="double",
        options_json='{"timeout_s": 10}',
        bundle_sha256="ab" * 32,
        signature=b"",
        public_key=b"",
        manifest_json="{}",
        schema_json="",
        content_sha256=str(number),
    )


class SlowStore(MemoryStore):
    """Commits when told."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def add_revision(self, revision: RevisionRecord, aliases: Sequence[AliasRecord]) -> None:
        self.entered.set()
        await self.go.wait()
        await super().add_revision(revision, aliases)


@pytest.fixture
def changed() -> list[FunctionKey]:
    return []


@pytest.fixture
async def registry(changed: list[FunctionKey]) -> Registry:
    found = Registry(MemoryStore(), VirtualClock(), changed.append)
    for number in (1, 2, 3):
        await found.add_revision(revision(number))
    changed.clear()
    return found


def latest(registry: Registry) -> int:
    ((number, _),) = registry.weights(KEY, "latest")
    return number


async def test_latest_follows_the_newest(registry: Registry) -> None:
    assert latest(registry) == 3
    assert registry.weights(KEY, "2") == ((2, 1),)
    assert registry.function(KEY).options(1).timeout_s == 10


async def test_a_rollback_takes_the_way_back(registry: Registry) -> None:
    await registry.rollback(KEY, "latest", None)
    await registry.add_revision(revision(4))
    await registry.rollback(KEY, "latest", None)
    assert latest(registry) == 2
    await registry.rollback(KEY, "latest", None)
    assert latest(registry) == 1
    with pytest.raises(Conflict):
        await registry.rollback(KEY, "latest", None)


async def test_a_rollback_skips_what_was_deleted(registry: Registry) -> None:
    await registry.delete_revision(KEY, 2, force=False)
    await registry.rollback(KEY, "latest", None)
    assert latest(registry) == 1


async def test_latest_falls_back_when_its_revision_is_deleted(registry: Registry) -> None:
    await registry.delete_revision(KEY, 3, force=False)
    assert latest(registry) == 2


async def test_a_split_loses_a_deleted_side(registry: Registry) -> None:
    await registry.point(KEY, "prod", {1: 50, 2: 50})
    with pytest.raises(Conflict):
        await registry.delete_revision(KEY, 1, force=False)
    await registry.delete_revision(KEY, 1, force=True)
    assert registry.weights(KEY, "prod") == ((2, 50),)


@pytest.mark.parametrize("alias", ["7", "", "A", "../x", "a" * 64])
async def test_an_alias_has_a_name_that_is_no_number(registry: Registry, alias: str) -> None:
    with pytest.raises((InvalidInput, InvalidOption)):
        await registry.point(KEY, alias, {1: 1})


async def test_what_points_nowhere_is_refused(registry: Registry, changed: list[FunctionKey]) -> None:
    for refused in (
        registry.point(KEY, "prod", {9: 1}),
        registry.rollback(KEY, "none", None),
        registry.promote(KEY, "prod", None, "none"),
        registry.delete_alias(KEY, "none"),
        registry.set_scaling(FunctionKey("default", "none"), Scaling()),
    ):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(Conflict):
        await registry.delete_alias(KEY, "latest")
    assert changed == []


async def test_every_change_is_told(registry: Registry, changed: list[FunctionKey]) -> None:
    await registry.point(KEY, "prod", {1: 1})
    await registry.set_scaling(KEY, Scaling(max_replicas=2))
    await registry.delete_alias(KEY, "prod")
    await registry.delete_function(KEY, force=False)
    assert changed == [KEY] * 4
    assert registry.next_number(KEY) == 4


async def test_a_caller_that_leaves_does_not_split_memory_from_disk() -> None:
    store = SlowStore()
    registry = Registry(store, VirtualClock())
    adding = asyncio.ensure_future(registry.add_revision(revision(1)))
    await store.entered.wait()
    adding.cancel()
    store.go.set()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert registry.function(KEY).newest == revision(1)
    assert (await store.load()).revisions == (revision(1),)


async def test_a_full_disk_changes_nothing_and_is_told(tmp_path: Path) -> None:
    async with Database(tmp_path / "stoker.db") as database:
        registry = Registry(SqliteStore(database), VirtualClock())
        await registry.add_revision(revision(1))
        (pages,) = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
        await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        large = dataclasses.replace(revision(2), manifest_json="x" * 1_000_000)
        with pytest.raises(StorageFailed, match="full"):
            await registry.add_revision(large)
        assert registry.function(KEY).newest == revision(1)
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        await registry.add_revision(large)
        assert registry.function(KEY).newest == large


async def test_a_restart_reads_what_was_written(tmp_path: Path) -> None:
    async with Database(tmp_path / "stoker.db") as database:
        registry = Registry(SqliteStore(database), VirtualClock())
        for number in (1, 2):
            await registry.add_revision(revision(number))
        await registry.point(KEY, "prod", {1: 9, 2: 1})
        await registry.set_scaling(KEY, Scaling(max_replicas=2))
        await registry.delete_revision(KEY, 2, force=True)
    async with Database(tmp_path / "stoker.db") as database:
        again = Registry(SqliteStore(database), VirtualClock())
        await again.load()
        assert again.function(KEY).aliases == registry.function(KEY).aliases
        assert again.function(KEY).scaling == Scaling(max_replicas=2)
        assert again.next_number(KEY) == 3
