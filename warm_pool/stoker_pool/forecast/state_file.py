"""A forecast's state as one file.

The rule that must not break: it is replaced whole or not at all, and an absurdly large one is not read into memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 512 * 1024 * 1024


class ForecastFile:
    """Implements ``ForecastStore``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                return None
            return self._path.read_bytes()
        except OSError:
            return None

    def save(self, state: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_bytes(state)
        os.replace(partial, self._path)


class NoForecastStore:
    """Keeps nothing: what was learned ends with the pool."""

    def load(self) -> bytes | None:
        return None

    def save(self, state: bytes) -> None:
        pass
