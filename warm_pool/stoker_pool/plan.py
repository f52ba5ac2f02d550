"""What the registry knows about a revision and the pool needs, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.options import FunctionOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionPlan:
    """One immutable revision."""

    key: str
    """``namespace/name@7``."""
    namespace: str
    name: str
    number: int
    handler: str
    options: FunctionOptions
    bundle_sha256: str
    signature: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a replica that was started for a look has told."""

    schema_json: bytes
    phases_ns: dict[str, int]
    memory_bytes: int
    streams: bool
