"""Which row was the first to have a key, on disk, so that ten million of them fit in little memory.

The rule that must not break: the answer depends on the input alone: a row owns its key if no row of a smaller number
has it. The file is of no worth after a stop: who takes a run up again asks anew for every row from the first.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_CACHE_KIB: Final = 32 * 1024
_DIGEST_BYTES: Final = 16


class SeenKeys:
    """One file per run; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        execute = self._connection.execute
        execute("PRAGMA journal_mode = OFF")  # nothing of it is to outlive the process
        execute("PRAGMA synchronous = OFF")
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID")
        execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
        self._path.unlink(missing_ok=True)

    def owners(self, keys: Sequence[tuple[int, bytes]]) -> list[int]:
        """For each (row, key), in the order of rows: the row that has the key first."""
        execute = self._connection.execute
        found = []
        for row, key in keys:
            digest = hashlib.blake2b(key, digest_size=_DIGEST_BYTES).digest()
            if execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, row)).rowcount:
                found.append(row)
            else:
                ((owner,),) = execute("SELECT row FROM seen WHERE digest = ?", (digest,))
                found.append(owner)
        return found
