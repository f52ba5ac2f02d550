"""What batch runs ask of a store. ``tests/contracts`` holds every implementation to it.

The rule that must not break: a method that returned has made its change durable and whole; a record is saved only over
the state that its writer read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stoker_api.batches.records import BatchRecord, ChunkRecord, Counts, NewBatch
from stoker_api.batches.states import BatchState


class BatchStore(Protocol):
    """Batch runs."""

    async def add(self, batch: NewBatch, now_s: float) -> bool:
        """Add a run; False where one of this id is there already."""
        ...

    async def find(self, batch_id: str) -> BatchRecord:
        """Raises ``NotFound``."""
        ...

    async def page(
        self,
        *,
        namespace: str | None = None,
        function: str | None = None,
        state: BatchState | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[BatchRecord]:
        """The newest first; ``before`` is the last id of the page before."""
        ...

    async def open(self) -> Sequence[BatchRecord]:
        """Queued and running ones, the oldest first."""
        ...

    async def ended_before(self, before_s: float) -> Sequence[str]:
        """Ids of runs that ended before then."""
        ...

    async def inputs_needed(self) -> Sequence[str]:
        """The inputs of runs that are queued, running or paused."""
        ...

    async def save(self, record: BatchRecord, was: BatchState) -> None:
        """Write a run; raises ``Conflict`` where its state is not ``was`` any more."""
        ...

    async def add_chunk(self, chunk: ChunkRecord) -> None:
        """Note a part that is on disk; raises ``Conflict`` where it has been noted."""
        ...

    async def chunks(self, batch_id: str) -> Sequence[ChunkRecord]:
        """In order."""
        ...

    async def counts(self, batch_id: str) -> Counts:
        """What the chunks sum to."""
        ...
