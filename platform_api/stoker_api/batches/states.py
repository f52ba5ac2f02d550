"""The life cycle of a batch run.

The rule that must not break: every change of state goes through ``move``, and what is succeeded or canceled stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from stoker.errors import Conflict


class BatchState(str, Enum):
    """Where a batch run is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    """By a person, or by something that a person must set right (``problem`` says what)."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


MOVES: Final[Mapping[BatchState, frozenset[BatchState]]] = {
    BatchState.QUEUED: frozenset({BatchState.RUNNING, BatchState.PAUSED, BatchState.FAILED, BatchState.CANCELED}),
    BatchState.RUNNING: frozenset(
        {BatchState.QUEUED, BatchState.PAUSED, BatchState.SUCCEEDED, BatchState.FAILED, BatchState.CANCELED}
    ),
    BatchState.PAUSED: frozenset({BatchState.QUEUED, BatchState.CANCELED}),
    BatchState.FAILED: frozenset({BatchState.QUEUED, BatchState.CANCELED}),  # what is done is kept: it can go on
    BatchState.SUCCEEDED: frozenset(),
    BatchState.CANCELED: frozenset(),
}
ENDED: Final = frozenset({BatchState.SUCCEEDED, BatchState.FAILED, BatchState.CANCELED})
"""Nothing happens any more by itself."""


def move(batch_id: str, now: BatchState, wanted: BatchState) -> BatchState:
    """The new state; raises ``Conflict`` for a move that is not allowed."""
    if wanted not in MOVES[now]:
        raise Conflict(
            f"{batch_id} is {now.value} and cannot become {wanted.value}",
            hint="`stoker batch show` says where it is.",
        )
    return wanted
