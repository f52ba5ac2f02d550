"""One SQLite file: written by one thread, read by another, opened and migrated off the event loop.

Writes that are asked for while a commit is under way share the next one, each in a savepoint of its own: one fsync
serves all of them. The rule that must not break: what a write changed is committed with ``synchronous=FULL`` before
its caller hears of success, a write that raises undoes itself alone, and the loop's thread never waits for the disk.
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
from typing import Final, Generic, TypeVar

from stoker.errors import Conflict
from stoker_api.stores.failures import StorageFailed

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
REGISTRY: Final = "migrations"
WORK: Final = "work"
"""Folders of migrations: of the registry's file, and of the file that holds durable work."""
_HERE: Final = "stoker_api.stores.sqlite"
_BUSY_TIMEOUT_S: Final = 5.0
_MOST_AT_ONCE: Final = 256


class _Write(Generic[T]):
    """One asked-for change, and how it ended."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work[T], done: asyncio.Future[T]) -> None:
        self.work = work
        self.done = done
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Run in a savepoint: what it raises undoes what it did. Raises where SQLite dropped the whole transaction."""
        self.error = None
        connection.execute("SAVEPOINT one")
        try:
            self.result = self.work(connection)
        except BaseException as error:
            if not connection.in_transaction:
                raise
            self.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def tell(self) -> None:
        """Wake who asked."""
        if self.done.cancelled():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)  # type: ignore[arg-type]


class Database:
    """Async context manager; ``read`` and ``write`` run a function with the connection."""

    def __init__(self, path: Path, migrations: str = REGISTRY) -> None:
        self._path = path
        self._migrations = migrations
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-write")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-read")
        self._to_write: sqlite3.Connection | None = None
        self._to_read: sqlite3.Connection | None = None
        self._waiting: list[_Write[object]] = []
        self._committing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Database:
        try:
            await self._in_thread(self._writer, self._open_to_write)
            await self._in_thread(self._reader, self._open_to_read)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._committing is not None:
            await asyncio.wait({self._committing})
        await self._close()

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` in a read transaction: it sees one instant, with every write that has returned."""
        self._open_connection(self._to_read)
        return await self._in_thread(self._reader, partial(self._read, work))

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in a write transaction; durable when this returns, undone when it raises.

        ``work`` may be run again after it was undone, so it must do nothing but change the database.
        """
        self._open_connection(self._to_write)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(work, done))  # type: ignore[arg-type]
        if self._committing is None:
            self._committing = asyncio.ensure_future(self._commit_all())
        return await done

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            await self._in_thread(self._writer, partial(self._commit, group))
            for write in group:
                write.tell()
        self._committing = None

    def _commit(self, group: list[_Write[object]]) -> None:
        """Commit a group; where that cannot be, each by itself, so that one too many does not stop the others."""
        try:
            self._commit_group(group)
        except BaseException as error:
            if len(group) == 1:
                group[0].error = _told(self._path, error)
                return
            for write in group:
                self._commit([write])
            return
        for write in group:
            if write.error is not None:
                write.error = _told(self._path, write.error)

    def _commit_group(self, group: list[_Write[object]]) -> None:
        connection = self._open_connection(self._to_write)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                write.run(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _read(self, work: Work[T]) -> T:
        connection = self._open_connection(self._to_read)
        try:
            connection.execute("BEGIN")
            return work(connection)
        except sqlite3.OperationalError as error:
            raise _told(self._path, error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    async def _in_thread(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    def _open_connection(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise Conflict(f"the database {self._path} is closed")
        return connection

    def _open_to_write(self) -> None:
        self._path.touch(mode=0o600)
        connection = _connect(self._path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection, self._migrations)
        except BaseException:
            connection.close()
            raise
        self._to_write = connection

    def _open_to_read(self) -> None:
        connection = _connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        self._to_read = connection

    async def _close(self) -> None:
        open_ones = ((self._reader, self._to_read), (self._writer, self._to_write))
        self._to_read = self._to_write = None
        for thread, connection in open_ones:
            if connection is not None:
                await self._in_thread(thread, connection.close)
            thread.shutdown(wait=True)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, cached_statements=256)


def _told(path: Path, error: BaseException) -> BaseException:
    """The disk's refusals as errors of our tree; everything else as it is."""
    if not isinstance(error, sqlite3.OperationalError):
        return error
    told = StorageFailed(f"{path} cannot be used: {error}", hint="Free some space on its disk, then try again.")
    told.__cause__ = error
    return told


def statements(name: str) -> dict[str, str]:
    """The named statements of ``statements/{name}.sql``."""
    text = files(_HERE).joinpath("statements", f"{name}.sql").read_text()
    blocks = text.split("-- name: ")[1:]
    return {block.partition("\n")[0].strip(): block.partition("\n")[2].strip() for block in blocks}


def _steps(folder_name: str) -> list[str]:
    folder = files(_HERE).joinpath(folder_name)
    found = {item.name: item.read_text() for item in folder.iterdir() if item.name.endswith(".sql")}
    return [found[name] for name in sorted(found)]


def _migrate(connection: sqlite3.Connection, folder_name: str) -> None:
    """Bring the file to the newest version, one numbered step per transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = _steps(folder_name)
    if version > len(steps):
        raise Conflict(
            f"the database has version {version}, and this Stoker knows up to {len(steps)}",
            hint="It was written by a newer Stoker: install that version or newer.",
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
