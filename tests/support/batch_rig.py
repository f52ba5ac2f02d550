"""Batch runs without a platform: a store in memory, and a function that is a Python callable with faults by script."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from stoker.errors import Conflict, NotFound
from stoker_api.batches.capacity import Capacity, Wish
from stoker_api.batches.estimate import EstimateView
from stoker_api.batches.mapping import Parameters
from stoker_api.batches.planner import PlanView
from stoker_api.batches.preparation import Preparation
from stoker_api.batches.records import BatchRecord, ChunkRecord, Counts, NewBatch
from stoker_api.batches.runner import BatchRunner
from stoker_api.batches.service import Batches
from stoker_api.batches.settings import BatchSettings
from stoker_api.batches.states import BatchState
from stoker_api.batches.uploads import Uploads
from stoker_api.internal_calls import CallResult, CallTarget
from stoker_runtime.clock import SystemClock
from stoker_runtime.invocation import Priority

LIMIT_S = 20.0
Answer = Callable[[dict[str, object], int], CallResult]


def result(value: object) -> CallResult:
    """A call that went well."""
    return CallResult(status=200, body=json.dumps(value).encode(), receipt={"batch_size": 4})


def refusal(code: str, *, ran: bool = False, retryable: bool = True, **more: object) -> CallResult:
    """A call that did not."""
    problem: dict[str, object] = {"code": code, "detail": f"it is {code}", **more}
    return CallResult(status=500, problem=problem, retryable=retryable, ran=ran, retry_after_s=0.001)


def doubled(arguments: dict[str, object], attempt: int) -> CallResult:
    """The function of most tests; odd things fail."""
    value = arguments["x"]
    if not isinstance(value, int):
        return refusal("invalid_arguments", retryable=False)
    return result(2 * value)


class MemoryBatchStore:
    """Forgets everything with the process."""

    def __init__(self) -> None:
        self.records: dict[str, BatchRecord] = {}
        self.parts: dict[str, list[ChunkRecord]] = {}

    async def add(self, batch: NewBatch, now_s: float) -> bool:
        if batch.id in self.records:
            return False
        self.records[batch.id] = BatchRecord(
            spec=batch, state=BatchState.QUEUED, created_at_s=now_s, updated_at_s=now_s
        )
        self.parts[batch.id] = []
        return True

    async def find(self, batch_id: str) -> BatchRecord:
        if batch_id not in self.records:
            raise NotFound(f"no batch run {batch_id!r}")
        return self.records[batch_id]

    async def page(
        self,
        *,
        namespace: str | None = None,
        function: str | None = None,
        state: BatchState | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[BatchRecord]:
        ids = list(self.records)
        if before is not None:
            ids = ids[: ids.index(before)] if before in ids else []
        found = [self.records[each] for each in reversed(ids)]
        return [
            each
            for each in found
            if namespace in (None, each.spec.namespace)
            and function in (None, each.spec.function)
            and state in (None, each.state)
        ][:limit]

    async def open(self) -> Sequence[BatchRecord]:
        return [each for each in self.records.values() if each.state in (BatchState.QUEUED, BatchState.RUNNING)]

    async def ended_before(self, before_s: float) -> Sequence[str]:
        return [each.id for each in self.records.values() if each.ended_at_s is not None and each.ended_at_s < before_s]

    async def inputs_needed(self) -> Sequence[str]:
        at_work = (BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED)
        return [url for each in self.records.values() if each.state in at_work for url in each.spec.input]

    async def save(self, record: BatchRecord, was: BatchState) -> None:
        if self.records[record.id].state is not was:
            raise Conflict(f"{record.id} is not {was.value} any more")
        self.records[record.id] = record

    async def add_chunk(self, chunk: ChunkRecord) -> None:
        if any(each.number == chunk.number for each in self.parts[chunk.batch_id]):
            raise Conflict("noted")
        self.parts[chunk.batch_id].append(chunk)

    async def chunks(self, batch_id: str) -> Sequence[ChunkRecord]:
        return list(self.parts.get(batch_id, ()))

    async def counts(self, batch_id: str) -> Counts:
        found = self.parts.get(batch_id, [])
        return Counts(
            rows=sum(each.rows for each in found), failed=sum(each.failed for each in found), chunks=len(found)
        )


class ScriptedCalls:
    """Answers by ``answer(arguments, attempt)``; ``gate`` closed holds every call."""

    def __init__(self, answer: Answer = doubled) -> None:
        self.answer = answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts: dict[str, int] = {}
        self.priorities: list[Priority] = []
        self.most_at_once = self._at_once = 0
        self.came = asyncio.Event()

    async def call(
        self, target: CallTarget, body: bytes, *, content_type: str, priority: Priority, request_id: str
    ) -> CallResult:
        self.attempts[request_id] = self.attempts.get(request_id, 0) + 1
        self.priorities.append(priority)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.came.set()
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            return self.answer(json.loads(body), self.attempts[request_id])
        finally:
            self._at_once -= 1


class FixedCapacity:
    """So many slots, for ever."""

    def __init__(self, each: int) -> None:
        self._each = each

    def view(self, wish: Wish) -> PlanView:
        return PlanView(
            calls_each=self._each,
            ready=1,
            max_replicas=1,
            max_queue_depth=1000,
            max_concurrency=wish.max_concurrency,
            left=wish.left,
            deadline_in_s=wish.deadline_in_s,
            rate_per_s=wish.rate_per_s,
        )

    def want(self, replicas: int, ready: int, now_s: float) -> None:
        return None

    async def close(self) -> None:
        return None


class OneFunction:
    """A function that takes ``x``."""

    def pin(self, spec: NewBatch) -> int:
        if spec.function != "double":
            raise NotFound(f"no function {spec.function}")
        return 3

    def parameters(self, spec: NewBatch, revision: int) -> Parameters:
        return Parameters(types={"x": {}}, required=frozenset({"x"}), takes_more=False)

    def capacity(self, spec: NewBatch, revision: int) -> Capacity:
        return FixedCapacity(8)

    def estimate_view(
        self, spec: NewBatch, revision: int, rows: float | None, *, is_exact: bool, row_bytes: float
    ) -> EstimateView:
        return EstimateView(
            rows=rows,
            is_rows_exact=is_exact,
            row_bytes=row_bytes,
            calls_each=8,
            a_s=0.1,
            b_s=0.1,
            costs_bytes=False,
            mean_s=0.0,
            replicas=1,
        )


class BatchRig:
    """A store and a folder that outlive platforms; ``running`` is one life of a platform."""

    def __init__(self, folder: Path, calls: ScriptedCalls | None = None) -> None:
        self.folder = folder
        self.store = MemoryBatchStore()
        self.calls = calls or ScriptedCalls()
        self.settings = BatchSettings(roots=str(folder))

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Batches]:
        clock, functions = SystemClock(), OneFunction()
        preparation = Preparation(self.folder / "state", self.settings.prefixes)
        runner = BatchRunner(
            store=self.store,
            calls=self.calls,
            functions=functions,
            preparation=preparation,
            settings=self.settings,
            clock=clock,
        )
        async with runner:
            yield Batches(
                store=self.store,
                runner=runner,
                functions=functions,
                preparation=preparation,
                uploads=Uploads(preparation.uploads, self.settings.max_upload_bytes, clock),
                clock=clock,
            )

    def write_input(self, rows: Sequence[object], name: str = "in.jsonl") -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        return path

    def spec(self, **changes: object) -> NewBatch:
        first = NewBatch(
            id="",
            namespace="default",
            function="double",
            input=(str(self.folder / "in.jsonl"),),
            output=str(self.output),
            rows_per_part=10,
        )
        return dataclasses.replace(first, **changes)  # type: ignore[arg-type]

    async def ended(self, batches: Batches, batch_id: str) -> BatchRecord:
        """Wait until nothing happens any more by itself."""
        with batches.runner.changes.watching(batch_id) as changed:
            while True:
                changed.clear()
                record = await self.store.find(batch_id)
                is_at_work = record.state in (BatchState.QUEUED, BatchState.RUNNING)
                if not is_at_work and batch_id not in batches.runner.progress:
                    return record
                await asyncio.wait_for(changed.wait(), LIMIT_S)

    def results(self) -> list[tuple[object, object]]:
        """(key, result) of the published output, in its order."""
        lines = [line for path in sorted(self.output.glob("part-*.jsonl")) for line in path.read_text().splitlines()]
        rows = [json.loads(line) for line in lines]
        return [(row["key"], row["result"]) for row in rows]

    def failures(self) -> list[tuple[object, str]]:
        """(row, code) of the published error files."""
        lines = [line for path in sorted(self.output.glob("errors-*.jsonl")) for line in path.read_text().splitlines()]
        rows = [json.loads(line) for line in lines]
        return [(row["row"], row["code"]) for row in rows]
