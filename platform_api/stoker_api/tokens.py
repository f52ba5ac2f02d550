"""Who may call: API tokens, known by their hash alone.

A token is 256 random bits, so one round of SHA-256 protects it as well as a slow hash would. The rule that must not
break: a token's text is shown once and kept nowhere; a revoked or expired one opens nothing from that moment on.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stoker.errors import AccessDenied, Forbidden, NotFound
from stoker_api.gateway.ports import Access
from stoker_api.stores.ports import TokenStore
from stoker_api.stores.records import Scope, TokenRecord
from stoker_api.uninterrupted import uninterrupted
from stoker_runtime.clock import Clock

PREFIX: Final = "stoker_"
_TOKEN_BYTES: Final = 32
_COVERS: Final = {
    Scope.INVOKE: frozenset({Scope.INVOKE}),
    Scope.DEPLOY: frozenset({Scope.INVOKE, Scope.DEPLOY}),
    Scope.ADMIN: frozenset(Scope),
}
_NO_TOKEN_HINT: Final = "Send `Authorization: Bearer TOKEN`; connection.json in the data directory holds the first one."


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token that was presented allows."""

    token_id: str
    scopes: frozenset[Scope]
    namespaces: frozenset[str] | None
    expires_at: datetime | None
    access: Access


OPEN: Final = Grant("", frozenset(Scope), None, None, Access(is_owner=True, token_id=""))
"""What everybody may do with ``--no-auth``."""


class Tokens:
    """All tokens, in memory over a store. Implements the gateway's ``Authenticator``."""

    def __init__(self, store: TokenStore, clock: Clock, *, is_open: bool = False) -> None:
        self._store = store
        self._clock = clock
        self._is_open = is_open
        self._records: dict[str, TokenRecord] = {}
        self._by_hash: dict[str, Grant] = {}
        self._keys: dict[str, frozenset[bytes]] = {}
        self._seen: dict[bytes, Grant] = {}  # by the token's own bytes; holds valid ones only

    async def load(self) -> None:
        """Read the store; before anything else."""
        found = await self._store.load_tokens()
        self._keys = dict(found.deployer_keys)
        for record in found.tokens:
            self._keep(record)

    def authenticate(self, token: bytes | None, namespace: str) -> Access:
        return self.require(token, Scope.INVOKE, namespace).access

    def require(self, token: bytes | None, scope: Scope, namespace: str | None = None) -> Grant:
        """The grant behind ``token``; raises ``AccessDenied``, or ``Forbidden`` where it does not cover the request."""
        grant = self._grant(token)
        if scope not in grant.scopes:
            raise Forbidden(
                f"this token has no scope {scope.value!r}",
                hint=f"It has {', '.join(sorted(held.value for held in grant.scopes))}.",
            )
        if namespace is not None and grant.namespaces is not None and namespace not in grant.namespaces:
            raise Forbidden(
                f"this token does not cover namespace {namespace!r}",
                hint=f"It covers {', '.join(sorted(grant.namespaces))}.",
            )
        return grant

    @uninterrupted
    async def create(
        self,
        name: str,
        scopes: frozenset[Scope],
        namespaces: tuple[str, ...] | None = None,
        expires_in_s: float | None = None,
    ) -> tuple[str, TokenRecord]:
        """A new token: its text, which nobody can find out again, and what is kept of it."""
        token = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock.now()
        expires_at = None if expires_in_s is None else now + timedelta(seconds=expires_in_s)
        record = TokenRecord(
            id=secrets.token_hex(6),
            name=name,
            token_sha256=_hash(token.encode()),
            scopes=scopes,
            namespaces=namespaces,
            created_at=now.isoformat(timespec="seconds"),
            expires_at=None if expires_at is None else expires_at.isoformat(timespec="milliseconds"),
        )
        await self._store.add_token(record)
        self._keep(record)
        return token, record

    @uninterrupted
    async def revoke(self, token_id: str) -> None:
        """Make a token useless; raises ``NotFound``."""
        if token_id not in self._records:
            raise NotFound(f"no token {token_id!r}", hint="`stoker token list` shows what there is.")
        await self._store.delete_token(token_id)
        record = self._records.pop(token_id)
        self._by_hash.pop(record.token_sha256, None)
        self._keys.pop(token_id, None)
        self._seen.clear()

    def records(self) -> tuple[TokenRecord, ...]:
        """All tokens in the order of creation."""
        return tuple(self._records.values())

    def is_valid(self, token: str, scope: Scope) -> bool:
        """Whether ``token`` opens ``scope`` now."""
        try:
            self.require(token.encode(), scope)
        except AccessDenied:
            return False
        return True

    @uninterrupted
    async def trust(self, grant: Grant, public_key: bytes) -> None:
        """Trust the first key that a token deploys with, and refuse another one; an admin token adds keys."""
        known = self._keys.get(grant.token_id, frozenset())
        if public_key in known or grant is OPEN:
            return
        if known and Scope.ADMIN not in grant.scopes:
            raise Forbidden(
                "this token deployed with another key before",
                hint="Deploy from where the first key is (deploy.key in its data directory), or ask for a new token.",
            )
        await self._store.trust_key(grant.token_id, public_key)
        self._keys[grant.token_id] = known | {public_key}

    def _grant(self, token: bytes | None) -> Grant:
        if self._is_open:
            return OPEN
        if token is None:
            raise AccessDenied("no token was sent", hint=_NO_TOKEN_HINT)
        grant = self._seen.get(token)
        if grant is None:
            grant = self._by_hash.get(_hash(token))
            if grant is None:
                raise AccessDenied("no such token", hint=_NO_TOKEN_HINT)
            self._seen[token] = grant
        if grant.expires_at is not None and self._clock.now() >= grant.expires_at:
            raise AccessDenied("the token has expired", hint="Ask an admin for a new one: `stoker token create`.")
        return grant

    def _keep(self, record: TokenRecord) -> None:
        scopes = frozenset(covered for scope in record.scopes for covered in _COVERS[scope])
        self._records[record.id] = record
        self._by_hash[record.token_sha256] = Grant(
            token_id=record.id,
            scopes=scopes,
            namespaces=None if record.namespaces is None else frozenset(record.namespaces),
            expires_at=None if record.expires_at is None else datetime.fromisoformat(record.expires_at),
            access=Access(is_owner=Scope.DEPLOY in scopes, token_id=record.id),
        )


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()
