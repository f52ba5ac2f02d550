"""One SQLite file, one connection, one thread: opened, migrated and used off the event loop.

The rule that must not break: every write is one transaction, committed with ``synchronous=FULL`` before its caller
hears of success, and the loop's thread never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from stoker.errors import Conflict
from stoker_api.stores.failures import StorageFailed

T = TypeVar("T")
_HERE: Final = "stoker_api.stores.sqlite"
_BUSY_TIMEOUT_S: Final = 5.0


class Database:
    """Async context manager; ``read`` and ``write`` run a function with the connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Database:
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._in_thread(self._close)
        self._thread.shutdown(wait=True)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a read transaction: it sees one instant."""
        return await self._in_thread(partial(self._transact, "BEGIN", work))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a write transaction; durable when this returns, undone when it raises."""
        return await self._in_thread(partial(self._transact, "BEGIN IMMEDIATE", work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise Conflict(f"the database {self._path} is closed")
        try:
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise _failure(self._path, error) from error
            raise
        return result

    def _open(self) -> None:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _failure(path: Path, error: Exception) -> StorageFailed:
    return StorageFailed(f"{path} cannot be used: {error}", hint="Free some space on its disk, then try again.")


def statements(name: str) -> dict[str, str]:
    """The named statements of ``statements/{name}.sql``."""
    text = files(_HERE).joinpath("statements", f"{name}.sql").read_text()
    blocks = text.split("-- name: ")[1:]
    return {block.partition("\n")[0].strip(): block.partition("\n")[2].strip() for block in blocks}


def _migrations() -> list[str]:
    folder = files(_HERE).joinpath("migrations")
    found = {item.name: item.read_text() for item in folder.iterdir() if item.name.endswith(".sql")}
    return [found[name] for name in sorted(found)]


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest version, one numbered step per transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = _migrations()
    if version > len(steps):
        raise Conflict(
            f"the database has version {version}, and this Stoker knows up to {len(steps)}",
            hint="It was written by a newer Stoker: install that version or newer.",
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
