"""What starts have taught: how much memory a replica takes and how long its load lasts.

The rule that must not break: a new revision starts from what its function's earlier ones taught; what is learned
outlives the platform's process; a broken file costs the knowledge, never the start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

DEFAULT_LOAD_S: Final = 1.0
_MOST_ENTRIES: Final = 20_000
_HEADROOM: Final = 1.1


class LearnedStore(Protocol):
    """Where estimates are kept; plain JSON values."""

    def load(self) -> dict[str, object]:
        """What was saved last; empty where nothing was."""
        ...

    def save(self, content: dict[str, object]) -> None:
        """Replace it, whole or not at all. Called in a thread."""
        ...


class JsonLearnedStore:
    """One JSON file, replaced atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def save(self, content: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_text(json.dumps(content))
        os.replace(partial, self._path)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one revision or one function."""

    memory_bytes: int
    load_s: float


class Learned:
    """Estimates by revision, and by function for revisions that have not run yet."""

    def __init__(self, content: Mapping[str, object]) -> None:
        self._estimates: dict[str, Estimate] = {}
        self.is_changed = False
        for key, value in content.items():
            if isinstance(value, list) and len(value) == 2 and all(isinstance(item, (int, float)) for item in value):
                self._estimates[key] = Estimate(max(int(value[0]), 0), max(float(value[1]), 0.0))

    def memory_bytes(self, key: str) -> int | None:
        """What a replica of the revision should be given; None: nothing is known."""
        estimate = self._find(key)
        return int(estimate.memory_bytes * _HEADROOM) if estimate is not None and estimate.memory_bytes else None

    def load_s(self, key: str) -> float:
        """How long a start should take."""
        estimate = self._find(key)
        return estimate.load_s if estimate is not None and estimate.load_s else DEFAULT_LOAD_S

    def note_start(self, key: str, memory_bytes: int, load_s: float) -> None:
        """A replica of the revision is ready."""
        for name in (key, function_of(key)):
            known = self._estimates.get(name)
            mean_s = load_s if known is None or not known.load_s else (known.load_s + load_s) / 2
            self._put(name, Estimate(_peak(known, memory_bytes), mean_s))

    def note_memory(self, key: str, memory_bytes: int) -> None:
        """A running replica was measured."""
        for name in (key, function_of(key)):
            known = self._estimates.get(name)
            if known is None or memory_bytes > known.memory_bytes:
                self._put(name, Estimate(memory_bytes, known.load_s if known is not None else 0.0))

    def content(self) -> dict[str, object]:
        """As plain JSON values."""
        return {key: [value.memory_bytes, value.load_s] for key, value in self._estimates.items()}

    def _find(self, key: str) -> Estimate | None:
        return self._estimates.get(key) or self._estimates.get(function_of(key))

    def _put(self, name: str, estimate: Estimate) -> None:
        self._estimates.pop(name, None)  # the newest is last, so that the oldest is forgotten first
        self._estimates[name] = estimate
        while len(self._estimates) > _MOST_ENTRIES:
            del self._estimates[next(iter(self._estimates))]
        self.is_changed = True


def function_of(key: str) -> str:
    """``namespace/name`` of ``namespace/name@7``."""
    return key.partition("@")[0]


def _peak(known: Estimate | None, memory_bytes: int) -> int:
    """The highest seen, fading slowly so that one bad day is forgotten."""
    if known is None or not memory_bytes:
        return memory_bytes if known is None else known.memory_bytes
    return max(memory_bytes, int(0.9 * known.memory_bytes + 0.1 * memory_bytes))
