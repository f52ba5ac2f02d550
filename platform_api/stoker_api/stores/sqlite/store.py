"""The ``Store`` protocol on SQLite: records to rows and back.

The rule that must not break: what a constraint of the database refuses comes out as an error of our tree, with
nothing changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from stoker.errors import Conflict, NotFound
from stoker_api.stores.records import (
    AliasRecord,
    FunctionKey,
    FunctionRecord,
    RegistrySnapshot,
    RevisionRecord,
    Scope,
    SecretRecord,
    TokenRecord,
    TokenSnapshot,
    Weights,
)
from stoker_api.stores.sqlite.database import Database, statements

_SQL: Final = {**statements("registry"), **statements("access")}
_Work = Callable[[sqlite3.Connection], object]


class SqliteStore:
    """Everything that must survive, in one file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- registry

    async def load(self) -> RegistrySnapshot:
        return await self._database.read(_load)

    async def add_revision(self, revision: RevisionRecord, aliases: Sequence[AliasRecord]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = _revision_row(revision)
            if connection.execute(_SQL["take_number"], row).rowcount != 1:
                raise Conflict(f"revision {revision.number} of {revision.key} has been used")
            connection.execute(_SQL["add_revision"], row)
            _put_aliases(connection, aliases)

        await self._checked(work)

    async def put_aliases(self, aliases: Sequence[AliasRecord]) -> None:
        await self._checked(lambda connection: _put_aliases(connection, aliases))

    async def delete_alias(self, key: FunctionKey, alias: str) -> None:
        await self._changing_one("delete_alias", {**_key_row(key), "alias": alias}, f"{key} has no alias {alias!r}")

    async def set_scaling(self, key: FunctionKey, scaling_json: str) -> None:
        row = {**_key_row(key), "scaling_json": scaling_json}
        await self._changing_one("set_scaling", row, f"no function {key}")

    async def delete_revision(self, key: FunctionKey, number: int, aliases: Sequence[AliasRecord]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["delete_aliases"], _key_row(key))
            if connection.execute(_SQL["delete_revision"], {**_key_row(key), "number": number}).rowcount != 1:
                raise NotFound(f"{key} has no revision {number}")
            _put_aliases(connection, aliases)

        await self._checked(work)

    async def delete_function(self, key: FunctionKey) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["delete_function"], _key_row(key)).rowcount != 1:
                raise NotFound(f"no function {key}")
            connection.execute(_SQL["delete_aliases"], _key_row(key))
            connection.execute(_SQL["delete_revisions"], _key_row(key))

        await self._checked(work)

    # ---- tokens

    async def load_tokens(self) -> TokenSnapshot:
        return await self._database.read(_load_tokens)

    async def add_token(self, token: TokenRecord) -> None:
        row = {
            "id": token.id,
            "name": token.name,
            "token_sha256": token.token_sha256,
            "scopes_json": json.dumps(sorted(scope.value for scope in token.scopes)),
            "namespaces_json": None if token.namespaces is None else json.dumps(token.namespaces),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        }
        await self._checked(lambda connection: connection.execute(_SQL["add_token"], row))

    async def delete_token(self, token_id: str) -> None:
        await self._changing_one("delete_token", {"id": token_id}, f"no token {token_id!r}")

    async def trust_key(self, token_id: str, public_key: bytes) -> None:
        row = {"token_id": token_id, "public_key": public_key}
        await self._checked(lambda connection: connection.execute(_SQL["trust_key"], row))

    # ---- secrets

    async def load_secrets(self) -> tuple[SecretRecord, ...]:
        def work(connection: sqlite3.Connection) -> tuple[SecretRecord, ...]:
            rows = connection.execute(_SQL["load_secrets"]).fetchall()
            return tuple(SecretRecord(namespace=n, name=m, sealed=s, updated_at=u) for n, m, s, u in rows)

        return await self._database.read(work)

    async def put_secret(self, secret: SecretRecord) -> None:
        row = {spec.name: getattr(secret, spec.name) for spec in fields(secret)}
        await self._checked(lambda connection: connection.execute(_SQL["put_secret"], row))

    async def delete_secret(self, namespace: str, name: str) -> None:
        row = {"namespace": namespace, "name": name}
        await self._changing_one("delete_secret", row, f"namespace {namespace!r} has no secret {name!r}")

    async def _changing_one(self, statement: str, row: Mapping[str, object], missing: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL[statement], row).rowcount != 1:
                raise NotFound(missing)

        await self._database.write(work)

    async def _checked(self, work: _Work) -> None:
        try:
            await self._database.write(work)
        except sqlite3.IntegrityError as error:
            if "FOREIGN KEY" in str(error):
                raise NotFound(f"it refers to what is not there: {error}") from error
            raise Conflict(f"it is there already: {error}") from error


def _load(connection: sqlite3.Connection) -> RegistrySnapshot:
    functions = tuple(
        FunctionRecord(
            key=FunctionKey(namespace, name),
            created_at=created_at,
            next_number=next_number,
            scaling_json=scaling_json,
            is_deleted=bool(is_deleted),
        )
        for namespace, name, created_at, next_number, scaling_json, is_deleted in connection.execute(
            _SQL["load_functions"]
        )
    )
    names = [spec.name for spec in fields(RevisionRecord)][1:]
    revisions = tuple(
        RevisionRecord(key=FunctionKey(row[0], row[1]), **dict(zip(names, row[2:], strict=True)))
        for row in connection.execute(_SQL["load_revisions"])
    )
    weights: dict[tuple[FunctionKey, str], list[tuple[int, int]]] = {}
    trails: dict[tuple[FunctionKey, str], str] = {}
    for namespace, name, alias, trail_json, number, weight in connection.execute(_SQL["load_aliases"]):
        found = (FunctionKey(namespace, name), alias)
        weights.setdefault(found, []).append((number, weight))
        trails[found] = trail_json
    aliases = tuple(
        AliasRecord(key=key, alias=alias, weights=tuple(pairs), trail=_trail(trails[key, alias]))
        for (key, alias), pairs in weights.items()
    )
    return RegistrySnapshot(functions=functions, revisions=revisions, aliases=aliases)


def _load_tokens(connection: sqlite3.Connection) -> TokenSnapshot:
    tokens = tuple(
        TokenRecord(
            id=token_id,
            name=name,
            token_sha256=token_sha256,
            scopes=frozenset(Scope(scope) for scope in json.loads(scopes_json)),
            namespaces=None if namespaces_json is None else tuple(json.loads(namespaces_json)),
            created_at=created_at,
            expires_at=expires_at,
        )
        for token_id, name, token_sha256, scopes_json, namespaces_json, created_at, expires_at in connection.execute(
            _SQL["load_tokens"]
        )
    )
    keys: dict[str, frozenset[bytes]] = {}
    for token_id, public_key in connection.execute(_SQL["load_keys"]):
        keys[token_id] = keys.get(token_id, frozenset()) | {public_key}
    return TokenSnapshot(tokens=tokens, deployer_keys=keys)


def _put_aliases(connection: sqlite3.Connection, aliases: Sequence[AliasRecord]) -> None:
    for record in aliases:
        row = {**_key_row(record.key), "alias": record.alias, "trail_json": json.dumps(record.trail)}
        connection.execute(_SQL["put_alias"], row)
        connection.execute(_SQL["clear_weights"], row)
        for number, weight in record.weights:
            connection.execute(_SQL["put_weight"], {**row, "number": number, "weight": weight})


def _key_row(key: FunctionKey) -> dict[str, object]:
    return {"namespace": key.namespace, "name": key.name}


def _revision_row(revision: RevisionRecord) -> dict[str, object]:
    row = {spec.name: getattr(revision, spec.name) for spec in fields(revision) if spec.name != "key"}
    return {**_key_row(revision.key), **row}


def _trail(text: str) -> tuple[Weights, ...]:
    return tuple(tuple((number, weight) for number, weight in step) for step in json.loads(text))
