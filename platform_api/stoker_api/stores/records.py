"""What stores hold, as frozen values.

The rule that must not break: a record is plain data, read and written whole; no record holds a secret in the clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

Weights = tuple[tuple[int, int], ...]
"""(revision, weight), by revision."""


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """Which function."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRecord:
    """One immutable deployed version of a function."""

    key: FunctionKey
    number: int
    created_at: str
    """ISO 8601, UTC."""
    handler: str
    options_json: str
    bundle_sha256: str
    signature: bytes
    public_key: bytes
    manifest_json: str
    schema_json: str
    """Input and output schema; empty where no worker has said it yet."""
    content_sha256: str
    """Over bundle, handler and options: equal content is the same revision."""
    environment_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRecord:
    """A movable name for a revision, or a split of several."""

    key: FunctionKey
    alias: str
    weights: Weights
    trail: tuple[Weights, ...] = ()
    """Where it pointed before, the latest at the end: what rollback goes back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """A name that has revisions. Numbers are never used twice, also after a deletion."""

    key: FunctionKey
    created_at: str
    next_number: int
    scaling_json: str = ""
    """Scaling set at run time, over what the revision says; empty for none."""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySnapshot:
    """All that a registry holds."""

    functions: tuple[FunctionRecord, ...] = ()
    revisions: tuple[RevisionRecord, ...] = ()
    aliases: tuple[AliasRecord, ...] = ()


class Scope(str, Enum):
    """What a token may do: each scope covers those before it."""

    INVOKE = "invoke"
    DEPLOY = "deploy"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A token without its secret part."""

    id: str
    name: str
    token_sha256: str
    scopes: frozenset[Scope]
    namespaces: tuple[str, ...] | None
    """None: all of them."""
    created_at: str
    expires_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSnapshot:
    """All tokens, and the deployer keys trusted for each."""

    tokens: tuple[TokenRecord, ...] = ()
    deployer_keys: Mapping[str, frozenset[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRecord:
    """An encrypted value."""

    namespace: str
    name: str
    sealed: bytes
    updated_at: str
