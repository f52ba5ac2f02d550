"""What the platform asks of a store. One contract suite (``tests/contracts``) holds every implementation to it.

The rule that must not break: a method that returned has made its change durable and whole; one that raised has
changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stoker_api.stores.records import (
    AliasRecord,
    FunctionKey,
    RegistrySnapshot,
    RevisionRecord,
    SecretRecord,
    TokenRecord,
    TokenSnapshot,
)


class RegistryStore(Protocol):
    """Functions, revisions and aliases."""

    async def load(self) -> RegistrySnapshot:
        """All of it, in the order of creation."""
        ...

    async def add_revision(self, revision: RevisionRecord, aliases: Sequence[AliasRecord]) -> None:
        """Add a revision and move aliases in one step; makes (or revives) the function.

        Raises ``Conflict`` where the number has been used, also by a revision deleted since.
        """
        ...

    async def put_aliases(self, aliases: Sequence[AliasRecord]) -> None:
        """Make or move aliases, all or none; raises ``NotFound`` where a revision is not there."""
        ...

    async def delete_alias(self, key: FunctionKey, alias: str) -> None: ...

    async def set_scaling(self, key: FunctionKey, scaling_json: str) -> None:
        """Empty takes it back; raises ``NotFound``."""
        ...

    async def delete_revision(self, key: FunctionKey, number: int, aliases: Sequence[AliasRecord]) -> None:
        """Remove it, and replace the function's aliases by ``aliases``."""
        ...

    async def delete_function(self, key: FunctionKey) -> None:
        """Remove it with all its revisions and aliases; its next number is kept."""
        ...


class TokenStore(Protocol):
    """Tokens, hashed, and the deployer keys trusted for each."""

    async def load_tokens(self) -> TokenSnapshot: ...

    async def add_token(self, token: TokenRecord) -> None: ...

    async def delete_token(self, token_id: str) -> None:
        """Raises ``NotFound``."""
        ...

    async def trust_key(self, token_id: str, public_key: bytes) -> None:
        """Remember a deployer's key; twice is once."""
        ...


class SecretStore(Protocol):
    """Encrypted values by namespace and name."""

    async def load_secrets(self) -> tuple[SecretRecord, ...]: ...

    async def put_secret(self, secret: SecretRecord) -> None: ...

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Raises ``NotFound``."""
        ...


class Store(RegistryStore, TokenStore, SecretStore, Protocol):
    """Everything that must survive."""
