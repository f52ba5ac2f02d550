"""A worker in memory that narrows batches down as real ones do, its user code spending virtual time."""

from __future__ import annotations

from collections.abc import Callable

from stoker_runtime.batch_run import BatchRun
from stoker_runtime.entries import Entry, entries_of
from stoker_runtime.frames import encode_result, pack_results
from tests.support.fake_replica import FakeReplica


class NarrowingWorker:
    """Answers for a ``FakeReplica``. ``code`` takes the items of ``{"x": item}`` as a list."""

    def __init__(self, replica: FakeReplica, code: Callable[[list[int]], list[int]]) -> None:
        self.replica = replica
        self._entry: Entry = _entry(code)

    def answer(self) -> None:
        """Finish the oldest execution."""
        execution = self.replica.executions.popleft()
        calls = [(call, memoryview(body)) for call, body in zip(execution.calls, execution.bodies, strict=True)]
        run = BatchRun(self._entry, calls, narrows=True, suspects_below=execution.suspects_below)
        results = run.run()
        frame = pack_results([encode_result(header) for header, _ in results], [body for _, body in results])
        self.replica.feed(b"".join(frame))


def _entry(code: Callable[[list[int]], list[int]]) -> Entry:
    def batch(x: list[int]) -> list[int]:
        return code(x)

    entry = entries_of(batch, is_batched=True).default
    assert entry is not None
    return entry
