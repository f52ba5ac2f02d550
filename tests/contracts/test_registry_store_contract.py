"""What every store promises: one suite over each implementation."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.memory_store import MemoryStore

from stoker.errors import Conflict, NotFound
from stoker_api.stores.ports import Store
from stoker_api.stores.records import (
    AliasRecord,
    FunctionKey,
    RevisionRecord,
    Scope,
    SecretRecord,
    TokenRecord,
    Weights,
)
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.store import SqliteStore

KEY = FunctionKey("default", "double")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with Database(tmp_path / "stoker.db") as database:
        yield SqliteStore(database)


def revision(number: int, key: FunctionKey = KEY) -> RevisionRecord:
    return RevisionRecord(
        key=key,
        number=number,
        created_at=f"2026-01-0{number}T00:00:00+00:00",
        handler="double",
        options_json="{}",
        bundle_sha256="ab" * 32,
        signature=b"signature",
        public_key=b"key",
        manifest_json="{}",
        schema_json="",
        content_sha256=f"content-{number}",
    )


def alias(name: str, *weights: tuple[int, int], trail: tuple[Weights, ...] = ()) -> AliasRecord:
    return AliasRecord(key=KEY, alias=name, weights=weights, trail=trail)


async def test_a_revision_comes_back_as_it_was_written(store: Store) -> None:
    await store.add_revision(revision(1), [alias("latest", (1, 100))])
    found = await store.load()
    assert found.revisions == (revision(1),)
    assert found.aliases == (alias("latest", (1, 100)),)
    assert [(item.key, item.next_number, item.is_deleted) for item in found.functions] == [(KEY, 2, False)]


async def test_a_number_is_used_once(store: Store) -> None:
    await store.add_revision(revision(1), [])
    with pytest.raises(Conflict):
        await store.add_revision(dataclasses.replace(revision(1), handler="other"), [])
    assert (await store.load()).revisions == (revision(1),)


async def test_a_revision_whose_alias_is_wrong_is_not_added(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.add_revision(revision(1), [alias("latest", (7, 100))])
    found = await store.load()
    assert found.revisions == ()
    assert found.aliases == ()


async def test_an_alias_moves_with_its_trail(store: Store) -> None:
    await store.add_revision(revision(1), [alias("latest", (1, 100))])
    await store.add_revision(revision(2), [alias("latest", (2, 100), trail=(((1, 100),),))])
    assert (await store.load()).aliases == (alias("latest", (2, 100), trail=(((1, 100),),)),)


async def test_an_alias_splits_by_weight(store: Store) -> None:
    await store.add_revision(revision(1), [])
    await store.add_revision(revision(2), [])
    await store.put_aliases([alias("prod", (1, 90), (2, 10))])
    assert (await store.load()).aliases == (alias("prod", (1, 90), (2, 10)),)


async def test_aliases_move_all_or_none(store: Store) -> None:
    await store.add_revision(revision(1), [])
    with pytest.raises(NotFound):
        await store.put_aliases([alias("prod", (1, 100)), alias("next", (2, 100))])
    assert (await store.load()).aliases == ()


async def test_a_deleted_alias_is_gone(store: Store) -> None:
    await store.add_revision(revision(1), [alias("prod", (1, 100))])
    await store.delete_alias(KEY, "prod")
    assert (await store.load()).aliases == ()
    with pytest.raises(NotFound):
        await store.delete_alias(KEY, "prod")


async def test_a_revision_that_an_alias_needs_stays(store: Store) -> None:
    await store.add_revision(revision(1), [alias("prod", (1, 100))])
    with pytest.raises(NotFound):
        await store.delete_revision(KEY, 9, [])
    assert len((await store.load()).aliases) == 1


async def test_a_deleted_revision_takes_its_aliases_along(store: Store) -> None:
    await store.add_revision(revision(1), [alias("prod", (1, 100))])
    await store.add_revision(revision(2), [alias("latest", (2, 100))])
    await store.delete_revision(KEY, 1, [alias("latest", (2, 100))])
    found = await store.load()
    assert found.revisions == (revision(2),)
    assert found.aliases == (alias("latest", (2, 100)),)


async def test_a_deleted_function_keeps_its_next_number_and_nothing_else(store: Store) -> None:
    await store.add_revision(revision(1), [alias("latest", (1, 100))])
    await store.set_scaling(KEY, '{"min_replicas": 1}')
    await store.delete_function(KEY)
    found = await store.load()
    assert (found.revisions, found.aliases) == ((), ())
    assert [(item.next_number, item.is_deleted, item.scaling_json) for item in found.functions] == [(2, True, "")]
    with pytest.raises(Conflict):
        await store.add_revision(revision(1), [])
    await store.add_revision(revision(2), [])
    assert not (await store.load()).functions[0].is_deleted


async def test_scaling_is_kept_across_a_new_revision(store: Store) -> None:
    await store.add_revision(revision(1), [])
    await store.set_scaling(KEY, '{"min_replicas": 1}')
    await store.add_revision(revision(2), [])
    assert (await store.load()).functions[0].scaling_json == '{"min_replicas": 1}'


async def test_what_is_not_there_cannot_be_changed(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.set_scaling(KEY, "{}")
    with pytest.raises(NotFound):
        await store.delete_function(KEY)
    with pytest.raises(NotFound):
        await store.delete_token("none")
    with pytest.raises(NotFound):
        await store.trust_key("none", b"key")
    with pytest.raises(NotFound):
        await store.delete_secret("default", "none")


async def test_tokens_and_their_keys_come_back(store: Store) -> None:
    token = TokenRecord(
        id="t1",
        name="ci",
        token_sha256="cd" * 32,
        scopes=frozenset({Scope.INVOKE, Scope.DEPLOY}),
        namespaces=("team-a",),
        created_at="2026-01-01T00:00:00+00:00",
        expires_at="2027-01-01T00:00:00+00:00",
    )
    await store.add_token(token)
    await store.trust_key("t1", b"key")
    await store.trust_key("t1", b"key")
    found = await store.load_tokens()
    assert found.tokens == (token,)
    assert dict(found.deployer_keys) == {"t1": frozenset({b"key"})}
    await store.delete_token("t1")
    gone = await store.load_tokens()
    assert (gone.tokens, dict(gone.deployer_keys)) == ((), {})


async def test_a_secret_is_replaced_by_its_newer_value(store: Store) -> None:
    for sealed in (b"one", b"two"):
        await store.put_secret(SecretRecord(namespace="default", name="KEY", sealed=sealed, updated_at="now"))
    assert [item.sealed for item in await store.load_secrets()] == [b"two"]
    await store.delete_secret("default", "KEY")
    assert await store.load_secrets() == ()


async def test_what_sqlite_has_answered_is_there_after_a_reopen(tmp_path: Path) -> None:
    async with Database(tmp_path / "stoker.db") as database:
        await SqliteStore(database).add_revision(revision(1), [alias("latest", (1, 100))])
    async with Database(tmp_path / "stoker.db") as database:
        assert (await SqliteStore(database).load()).revisions == (revision(1),)


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stoker.db"
    async with Database(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Conflict, match="version 99"):
        async with Database(path):
            pass
