"""Bodies and results that are too large for the database, as files.

The rule that must not break: a file stands under its name only when it is whole and on disk, and each belongs to one
job, so that forgetting the job may remove it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from stoker.errors import NotFound
from stoker_api.stores.failures import StorageFailed


class Payloads:
    """A folder of files that are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, data: bytes) -> None:
        """Keep ``data`` under a new name; on disk when this returns."""
        await asyncio.to_thread(self._put, name, data)

    async def read(self, name: str) -> bytes:
        """What was put; raises ``NotFound``."""
        return await asyncio.to_thread(self._read, name)

    async def remove(self, names: Iterable[str]) -> None:
        """Forget some."""
        await asyncio.to_thread(self._remove, tuple(names))

    async def sweep(self, keep: Collection[str]) -> int:
        """Remove what no job refers to (a submit that was broken off); how many."""
        return await asyncio.to_thread(self._sweep, keep)

    def _put(self, name: str, data: bytes) -> None:
        path, draft = self._folder / name, self._folder / f".{name}.draft"
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StorageFailed(
                f"{self._folder} cannot be written: {error.strerror}",
                hint="Free some space on its disk, then try again.",
            ) from error

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"the file of {name} is gone", hint="Submit the job again.", phase="job") from None

    def _remove(self, names: tuple[str, ...]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def _sweep(self, keep: Collection[str]) -> int:
        removed = 0
        for path in self._folder.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)
                removed += 1
        return removed
