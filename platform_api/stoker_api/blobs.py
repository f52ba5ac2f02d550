"""Bundles on disk, by the hash of their content.

The rule that must not break: a blob stands under its name only when it is whole and on disk, and what is read is what
the name says, or an error.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Final

from stoker.errors import BundleTampered, NotFound
from stoker.signing import bundle_sha256
from stoker_api.stores.failures import StorageFailed

_SHA256_CHARS: Final = 64
_HEX: Final = frozenset("0123456789abcdef")


class BlobStore:
    """A folder of immutable files. Implements the pool's ``BundleSource``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, data: bytes) -> str:
        """Keep ``data``; its name, once it is on disk."""
        return await asyncio.to_thread(self._put, data)

    async def read(self, sha256: str) -> bytes:
        """The content of a blob; raises ``NotFound``, or ``BundleTampered`` where it has been changed on disk."""
        return await asyncio.to_thread(self._read, sha256)

    async def sweep(self, keep: Collection[str]) -> int:
        """Remove what nobody refers to (a registration that was broken off); how many."""
        return await asyncio.to_thread(self._sweep, keep)

    def _path(self, sha256: str) -> Path:
        if len(sha256) != _SHA256_CHARS or not _HEX.issuperset(sha256):
            raise NotFound(f"no blob {sha256!r}")
        return self._folder / sha256[:2] / sha256

    def _put(self, data: bytes) -> str:
        sha256 = bundle_sha256(data)
        path = self._path(sha256)
        if path.exists() and path.read_bytes() == data:
            return sha256
        draft = path.with_name(f".{sha256}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException as error:
            draft.unlink(missing_ok=True)
            if isinstance(error, OSError):
                hint = "Free some space on its disk, then try again."
                raise StorageFailed(f"{self._folder} cannot be written: {error.strerror}", hint=hint) from error
            raise
        for folder in (path.parent, self._folder):
            _sync_folder(folder)
        return sha256

    def _read(self, sha256: str) -> bytes:
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"no blob {sha256}", hint="Deploy the function again.") from None
        if bundle_sha256(data) != sha256:
            raise BundleTampered(f"{path.name} has been changed on disk", hint="Deploy the function again.")
        return data

    def _sweep(self, keep: Collection[str]) -> int:
        removed = 0
        for path in self._folder.glob("??/*"):
            if path.name not in keep:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
