"""Tokens: scopes, namespaces, expiry, revocation, and the keys that deploy."""

from __future__ import annotations

import pytest
from tests.support.memory_store import MemoryStore

from stoker.errors import AccessDenied, Forbidden, NotFound
from stoker_api.stores.records import Scope
from stoker_api.tokens import OPEN, Tokens
from stoker_runtime.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def tokens(store: MemoryStore, clock: VirtualClock) -> Tokens:
    return Tokens(store, clock)


async def test_a_scope_covers_the_smaller_ones(tokens: Tokens) -> None:
    token, _ = await tokens.create("ci", frozenset({Scope.DEPLOY}))
    assert tokens.require(token.encode(), Scope.INVOKE)
    assert tokens.require(token.encode(), Scope.DEPLOY)
    with pytest.raises(Forbidden, match="no scope 'admin'"):
        tokens.require(token.encode(), Scope.ADMIN)


async def test_only_a_deployer_is_an_owner(tokens: Tokens) -> None:
    caller, _ = await tokens.create("caller", frozenset({Scope.INVOKE}))
    deployer, _ = await tokens.create("deployer", frozenset({Scope.DEPLOY}))
    assert not tokens.authenticate(caller.encode(), "default").is_owner
    assert tokens.authenticate(deployer.encode(), "default").is_owner


async def test_nothing_and_nonsense_open_nothing(tokens: Tokens) -> None:
    await tokens.create("ci", frozenset({Scope.INVOKE}))
    for token in (None, b"", b"stoker_", b"\xff\xfe"):
        with pytest.raises(AccessDenied):
            tokens.authenticate(token, "default")


async def test_a_token_ends_at_its_time_also_when_it_was_seen_before(tokens: Tokens, clock: VirtualClock) -> None:
    token, _ = await tokens.create("brief", frozenset({Scope.INVOKE}), expires_in_s=60)
    tokens.authenticate(token.encode(), "default")
    clock.advance(59.9)
    tokens.authenticate(token.encode(), "default")
    clock.advance(0.2)
    with pytest.raises(AccessDenied, match="expired"):
        tokens.authenticate(token.encode(), "default")


async def test_a_restart_knows_the_tokens(tokens: Tokens, store: MemoryStore, clock: VirtualClock) -> None:
    token, record = await tokens.create("ci", frozenset({Scope.INVOKE}), ("team-a",), 60)
    again = Tokens(store, clock)
    await again.load()
    assert again.records() == (record,)
    assert again.authenticate(token.encode(), "team-a").token_id == record.id
    with pytest.raises(Forbidden):
        again.authenticate(token.encode(), "default")


async def test_a_revoked_token_is_gone_for_good(tokens: Tokens, store: MemoryStore, clock: VirtualClock) -> None:
    token, record = await tokens.create("ci", frozenset({Scope.INVOKE}))
    tokens.authenticate(token.encode(), "default")
    await tokens.revoke(record.id)
    with pytest.raises(AccessDenied):
        tokens.authenticate(token.encode(), "default")
    with pytest.raises(NotFound):
        await tokens.revoke(record.id)
    again = Tokens(store, clock)
    await again.load()
    with pytest.raises(AccessDenied):
        again.authenticate(token.encode(), "default")


async def test_the_first_key_of_a_token_is_trusted_and_another_is_not(tokens: Tokens) -> None:
    token, _ = await tokens.create("ci", frozenset({Scope.DEPLOY}))
    grant = tokens.require(token.encode(), Scope.DEPLOY)
    await tokens.trust(grant, b"first")
    await tokens.trust(grant, b"first")
    with pytest.raises(Forbidden, match="another key"):
        await tokens.trust(grant, b"second")


async def test_an_admin_token_adds_keys(tokens: Tokens) -> None:
    token, _ = await tokens.create("admin", frozenset({Scope.ADMIN}))
    grant = tokens.require(token.encode(), Scope.ADMIN)
    await tokens.trust(grant, b"first")
    await tokens.trust(grant, b"second")


async def test_an_open_platform_asks_nobody(store: MemoryStore, clock: VirtualClock) -> None:
    tokens = Tokens(store, clock, is_open=True)
    assert tokens.require(None, Scope.ADMIN) is OPEN
    await tokens.trust(OPEN, b"any key")
