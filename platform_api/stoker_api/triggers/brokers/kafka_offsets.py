"""Which offset of a partition may be committed while messages end out of order. Pure.

The rule that must not break: an offset is committed only when every message before it is done.
"""

from __future__ import annotations


class Offsets:
    """What was received and what is done, by partition."""

    def __init__(self) -> None:
        self._open: dict[int, set[int]] = {}
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def received(self, partition: int, offset: int) -> None:
        """A message was handed out."""
        self._open.setdefault(partition, set()).add(offset)
        self._committed.setdefault(partition, offset)  # what came before is not ours to commit
        self._next[partition] = max(self._next.get(partition, 0), offset + 1)

    def done(self, partition: int, offset: int) -> int | None:
        """One is done; the offset that is now to be committed, if there is a new one."""
        waiting = self._open.get(partition, set())
        waiting.discard(offset)
        ready = min(waiting, default=self._next.get(partition, offset + 1))
        if ready <= self._committed.get(partition, -1):
            return None
        self._committed[partition] = ready
        return ready
