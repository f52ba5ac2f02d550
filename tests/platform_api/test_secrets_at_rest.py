"""Secrets: sealed in the store, bound to their names, opened for those who name them."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support.memory_store import MemoryStore

from stoker.errors import Conflict, InvalidInput, NotFound
from stoker_api.secrets import MAX_SECRET_BYTES, Secrets
from stoker_runtime.clock import VirtualClock

KEY = bytes(range(32))
VALUE = "sesame ä ☃"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def secrets(store: MemoryStore) -> Secrets:
    return Secrets(store, KEY, VirtualClock())


async def test_a_value_comes_back_to_who_names_it(secrets: Secrets) -> None:
    await secrets.put("default", "DOOR", VALUE)
    await secrets.put("default", "OTHER", "x")
    assert secrets.values("default", ["DOOR"]) == {"DOOR": VALUE}
    assert secrets.missing("default", ["DOOR", "NONE"]) == ("NONE",)


async def test_a_namespace_does_not_see_anothers(secrets: Secrets) -> None:
    await secrets.put("team-a", "DOOR", VALUE)
    with pytest.raises(NotFound, match="DOOR"):
        secrets.values("default", ["DOOR"])
    assert secrets.names("default") == ()


async def test_the_store_holds_no_value_in_the_clear(secrets: Secrets, store: MemoryStore) -> None:
    first = await secrets.put("default", "DOOR", VALUE)
    second = await secrets.put("default", "DOOR", VALUE)
    assert VALUE.encode() not in first.sealed
    assert first.sealed != second.sealed
    assert VALUE not in repr(await store.load_secrets())


async def test_a_restart_opens_what_was_sealed(secrets: Secrets, store: MemoryStore) -> None:
    await secrets.put("default", "DOOR", VALUE)
    again = Secrets(store, KEY, VirtualClock())
    await again.load()
    assert again.values("default", ["DOOR"]) == {"DOOR": VALUE}


async def test_another_key_opens_nothing_and_shows_nothing(secrets: Secrets, store: MemoryStore) -> None:
    await secrets.put("default", "DOOR", VALUE)
    again = Secrets(store, bytes(32), VirtualClock())
    await again.load()
    with pytest.raises(Conflict, match="does not open") as refused:
        again.values("default", ["DOOR"])
    assert VALUE not in str(refused.value)


async def test_a_sealed_value_opens_under_its_own_name_only(secrets: Secrets, store: MemoryStore) -> None:
    record = await secrets.put("default", "DOOR", VALUE)
    await store.put_secret(dataclasses.replace(record, name="STOLEN"))
    await secrets.load()
    with pytest.raises(Conflict):
        secrets.values("default", ["STOLEN"])


@pytest.mark.parametrize("value", ["", "a\0b", "x" * (MAX_SECRET_BYTES + 1)], ids=["empty", "nul", "long"])
async def test_a_value_that_no_environment_can_hold_is_refused(secrets: Secrets, value: str) -> None:
    with pytest.raises(InvalidInput):
        await secrets.put("default", "DOOR", value)


async def test_a_deleted_secret_is_gone(secrets: Secrets) -> None:
    await secrets.put("default", "DOOR", VALUE)
    await secrets.delete("default", "DOOR")
    assert secrets.missing("default", ["DOOR"]) == ("DOOR",)
    with pytest.raises(NotFound):
        await secrets.delete("default", "DOOR")
