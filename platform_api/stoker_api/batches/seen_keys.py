"""Which row was the first to have a key, on disk, so that ten million of them fit in little memory.

The rule that must not break: the answer for a row is the same when it is asked again after a crash: a row owns its key
if no row of a smaller number has it. ``keep`` makes what was asked so far safe, before the part that relies on it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_CACHE_KIB: Final = 16 * 1024


class SeenKeys:
    """One file per run; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID"
        )

    def close(self) -> None:
        """What was not kept is asked again."""
        self._connection.close()

    def owners(self, keys: Sequence[tuple[int, bytes]]) -> list[int]:
        """For each (row, key), in the order of rows: the row that has the key first."""
        connection = self._connection
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        found = []
        for row, key in keys:
            digest = hashlib.blake2b(key, digest_size=16).digest()
            connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, row))
            ((owner,),) = connection.execute("SELECT row FROM seen WHERE digest = ?", (digest,))
            found.append(owner)
        return found

    def keep(self) -> None:
        """Make it safe."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
