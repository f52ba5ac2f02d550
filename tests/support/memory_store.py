"""The ``Store`` protocol in plain dicts: for tests of what stands on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from stoker.errors import Conflict, NotFound
from stoker_api.stores.records import (
    AliasRecord,
    FunctionKey,
    FunctionRecord,
    RegistrySnapshot,
    RevisionRecord,
    SecretRecord,
    TokenRecord,
    TokenSnapshot,
)


class MemoryStore:
    """Forgets everything with the process."""

    def __init__(self) -> None:
        self._functions: dict[FunctionKey, FunctionRecord] = {}
        self._revisions: dict[tuple[FunctionKey, int], RevisionRecord] = {}
        self._aliases: dict[tuple[FunctionKey, str], AliasRecord] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._keys: dict[str, frozenset[bytes]] = {}
        self._secrets: dict[tuple[str, str], SecretRecord] = {}

    async def load(self) -> RegistrySnapshot:
        return RegistrySnapshot(
            functions=tuple(self._functions.values()),
            revisions=tuple(self._revisions.values()),
            aliases=tuple(self._aliases.values()),
        )

    async def add_revision(self, revision: RevisionRecord, aliases: Sequence[AliasRecord]) -> None:
        key = revision.key
        function = self._functions.get(key)
        if function is not None and revision.number < function.next_number:
            raise Conflict(f"revision {revision.number} of {key} has been used")
        self._check(aliases, also=revision.number)
        is_new = function is None or function.is_deleted
        self._functions[key] = FunctionRecord(
            key=key,
            created_at=revision.created_at if is_new or function is None else function.created_at,
            next_number=revision.number + 1,
            scaling_json="" if is_new or function is None else function.scaling_json,
        )
        self._revisions[key, revision.number] = revision
        await self.put_aliases(aliases)

    async def put_aliases(self, aliases: Sequence[AliasRecord]) -> None:
        self._check(aliases)
        self._aliases |= {(record.key, record.alias): record for record in aliases}

    async def delete_alias(self, key: FunctionKey, alias: str) -> None:
        if self._aliases.pop((key, alias), None) is None:
            raise NotFound(f"{key} has no alias {alias!r}")

    async def set_scaling(self, key: FunctionKey, scaling_json: str) -> None:
        self._functions[key] = dataclasses.replace(self._live(key), scaling_json=scaling_json)

    async def delete_revision(self, key: FunctionKey, number: int, aliases: Sequence[AliasRecord]) -> None:
        if (key, number) not in self._revisions:
            raise NotFound(f"{key} has no revision {number}")
        del self._revisions[key, number]
        self._aliases = {found: record for found, record in self._aliases.items() if found[0] != key}
        await self.put_aliases(aliases)

    async def delete_function(self, key: FunctionKey) -> None:
        self._functions[key] = dataclasses.replace(self._live(key), is_deleted=True, scaling_json="")
        self._revisions = {found: record for found, record in self._revisions.items() if found[0] != key}
        self._aliases = {found: record for found, record in self._aliases.items() if found[0] != key}

    async def load_tokens(self) -> TokenSnapshot:
        return TokenSnapshot(tokens=tuple(self._tokens.values()), deployer_keys=dict(self._keys))

    async def add_token(self, token: TokenRecord) -> None:
        if token.id in self._tokens:
            raise Conflict(f"token {token.id} is there already")
        self._tokens[token.id] = token

    async def delete_token(self, token_id: str) -> None:
        if self._tokens.pop(token_id, None) is None:
            raise NotFound(f"no token {token_id!r}")
        self._keys.pop(token_id, None)

    async def trust_key(self, token_id: str, public_key: bytes) -> None:
        if token_id not in self._tokens:
            raise NotFound(f"no token {token_id!r}")
        self._keys[token_id] = self._keys.get(token_id, frozenset()) | {public_key}

    async def load_secrets(self) -> tuple[SecretRecord, ...]:
        return tuple(self._secrets[found] for found in sorted(self._secrets))

    async def put_secret(self, secret: SecretRecord) -> None:
        self._secrets[secret.namespace, secret.name] = secret

    async def delete_secret(self, namespace: str, name: str) -> None:
        if self._secrets.pop((namespace, name), None) is None:
            raise NotFound(f"namespace {namespace!r} has no secret {name!r}")

    def _live(self, key: FunctionKey) -> FunctionRecord:
        function = self._functions.get(key)
        if function is None or function.is_deleted:
            raise NotFound(f"no function {key}")
        return function

    def _check(self, aliases: Sequence[AliasRecord], also: int | None = None) -> None:
        for record in aliases:
            for number, _ in record.weights:
                if number != also and (record.key, number) not in self._revisions:
                    raise NotFound(f"{record.key} has no revision {number}")
