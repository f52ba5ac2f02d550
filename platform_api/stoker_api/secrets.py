"""Secrets: encrypted at rest, in the clear only for the functions that name them.

The rule that must not break: a value leaves this module in ``values`` alone, on its way into a worker; it is in no
answer, no log and no error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stoker.errors import Conflict, InvalidInput, NotFound
from stoker_api.stores.ports import SecretStore
from stoker_api.stores.records import SecretRecord
from stoker_api.uninterrupted import uninterrupted
from stoker_runtime.clock import Clock

MAX_SECRET_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED: Final = re.compile(r"(?i)(STOKER_|LD_|PYTHON)|PATH$|HOME$")
_NONCE_BYTES: Final = 12


class Secrets:
    """All secrets, sealed, in memory over a store. Implements the pool's ``SecretSource``."""

    def __init__(self, store: SecretStore, key: bytes, clock: Clock) -> None:
        self._store = store
        self._cipher = AESGCM(key)
        self._clock = clock
        self._records: dict[tuple[str, str], SecretRecord] = {}

    async def load(self) -> None:
        """Read the store; before anything else."""
        self._records = {(item.namespace, item.name): item for item in await self._store.load_secrets()}

    def names(self, namespace: str) -> tuple[SecretRecord, ...]:
        """The secrets of a namespace, still sealed."""
        return tuple(item for (where, _), item in sorted(self._records.items()) if where == namespace)

    def missing(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Which of ``names`` are not set."""
        return tuple(name for name in names if (namespace, name) not in self._records)

    def values(self, namespace: str, names: Sequence[str]) -> dict[str, str]:
        """The environment variables of a function that names these secrets; raises ``NotFound``."""
        missing = self.missing(namespace, names)
        if missing:
            raise NotFound(
                f"namespace {namespace!r} has no secret {missing[0]!r}", hint=f"stoker secret set {missing[0]}"
            )
        return {name: self._open(self._records[namespace, name]) for name in names}

    @uninterrupted
    async def put(self, namespace: str, name: str, value: str) -> SecretRecord:
        """Set a secret; running replicas keep the value that they started with."""
        check_secret_name(name)
        data = value.encode()
        if not data or len(data) > MAX_SECRET_BYTES or "\0" in value:
            raise InvalidInput(
                f"the value of secret {name!r} must be 1 to {MAX_SECRET_BYTES} bytes without NUL, got {len(data)} bytes"
            )
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, data, _bound_to(namespace, name))
        now = self._clock.now().isoformat(timespec="seconds")
        record = SecretRecord(namespace=namespace, name=name, sealed=sealed, updated_at=now)
        await self._store.put_secret(record)
        self._records[namespace, name] = record
        return record

    @uninterrupted
    async def delete(self, namespace: str, name: str) -> None:
        """Forget a secret; raises ``NotFound``."""
        await self._store.delete_secret(namespace, name)
        self._records.pop((namespace, name), None)

    def _open(self, record: SecretRecord) -> str:
        nonce, sealed = record.sealed[:_NONCE_BYTES], record.sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, sealed, _bound_to(record.namespace, record.name)).decode()
        except InvalidTag:
            raise Conflict(
                f"secret {record.name!r} of namespace {record.namespace!r} does not open with this data folder's key",
                hint="Set it again, or restore secrets.key from a copy.",
            ) from None


def check_secret_name(name: str) -> None:
    """A name that can be an environment variable and changes nothing of the worker's own."""
    if not _NAME.fullmatch(name) or _RESERVED.match(name):
        raise InvalidInput(
            f"a secret's name must be an environment variable's, and not one that the worker itself needs, got {name!r}"
        )


def _bound_to(namespace: str, name: str) -> bytes:
    """A sealed value opens under its own name only."""
    return f"{namespace}/{name}".encode()
