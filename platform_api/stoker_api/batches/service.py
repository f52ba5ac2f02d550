"""Batch runs as the API offers them.

The rule that must not break: a run is checked before it is accepted, and on disk before its caller hears of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from stoker.errors import InvalidInput
from stoker_api.batches.documents import record_document
from stoker_api.batches.estimate import estimate
from stoker_api.batches.functions import Functions
from stoker_api.batches.ports import BatchStore
from stoker_api.batches.preparation import Checked, Preparation
from stoker_api.batches.records import BatchRecord, NewBatch
from stoker_api.batches.runner import BatchRunner
from stoker_api.batches.states import BatchState
from stoker_api.batches.uploads import Uploads
from stoker_api.ids import new_id
from stoker_runtime.clock import Clock

Json = dict[str, Any]


class Batches:
    """Everything about batch runs; ``platform.batches``."""

    def __init__(
        self,
        *,
        store: BatchStore,
        runner: BatchRunner,
        functions: Functions,
        preparation: Preparation,
        uploads: Uploads,
        clock: Clock,
    ) -> None:
        self._store = store
        self.runner = runner
        self._functions = functions
        self._preparation = preparation
        self.uploads = uploads
        self._clock = clock

    async def create(self, spec: NewBatch) -> Json:
        """Check a run, write it down and wake the runner; its document."""
        spec = dataclasses.replace(spec, id=new_id("batch", self._now_s()))
        revision = self._functions.pin(spec)
        checked = await asyncio.to_thread(self._check, spec, revision)
        fingerprints = checked.fingerprints if spec.items is None else ()
        spec = dataclasses.replace(spec, ref=str(revision), fingerprints=fingerprints)
        await self._store.add(spec, self._now_s())
        self.runner.wake()
        return await self.document(spec.id)

    def read_ahead(self, spec: NewBatch) -> None:
        """A run like this one is about to begin. Waits for the disk: call it in a thread."""
        self._preparation.read_ahead(spec)

    async def dry_run(self, spec: NewBatch) -> Json:
        """What ``create`` would check, what it would do, and what that takes by what was learned."""
        spec = dataclasses.replace(spec, id=new_id("batch", self._now_s()))
        revision = self._functions.pin(spec)
        try:
            checked = await asyncio.to_thread(self._check, spec, revision)
            rows, is_exact = await asyncio.to_thread(self._preparation.count, checked)
        finally:
            if spec.items is not None:
                await asyncio.to_thread(self._preparation.forget_inline, spec)
        sample, mapping = checked.sample, checked.mapping
        good = [row for row in sample.rows if row.values is not None]
        bodies = [mapping.body(row.values or {}) for row in good] if mapping is not None else []
        sizes = [len(body) for body in bodies if isinstance(body, bytes)]
        row_bytes = sum(sizes) / len(sizes) if sizes else 0.0
        view = self._functions.estimate_view(spec, revision, rows, is_exact=is_exact, row_bytes=row_bytes)
        return {
            "dry_run": True,
            "function": f"{spec.namespace}/{spec.function}@{revision}",
            "files": list(checked.fingerprints),
            "columns": sample.columns,
            "mapping": dict(mapping.pairs) if mapping is not None else {},
            "sampled_rows": len(sample.rows),
            "bad_rows": [
                {"where": row.where, "code": row.problem.code, "message": row.problem.message}
                for row in sample.rows
                if row.problem is not None
            ][:10],
            "estimate": estimate(view),
        }

    async def record(self, batch_id: str) -> BatchRecord:
        """Raises ``NotFound``."""
        return await self._store.find(batch_id)

    async def document(self, batch_id: str) -> Json:
        """A run, with how far it is."""
        return await self._document(await self._store.find(batch_id))

    async def documents(
        self, *, namespace: str | None, function: str | None, state: BatchState | None, before: str | None, limit: int
    ) -> list[Json]:
        """Runs, the newest first."""
        page = await self._store.page(namespace=namespace, function=function, state=state, before=before, limit=limit)
        return [await self._document(record) for record in page]

    async def output_files(self, batch_id: str) -> Sequence[str]:
        """Names of the files of an output that the platform keeps; raises ``InvalidInput`` for any other."""
        record = await self._store.find(batch_id)
        if record.spec.output is not None:
            raise InvalidInput(f"the output of {batch_id} is at {record.spec.output}", hint="Read it there.")
        if not record.is_published:
            raise InvalidInput(
                f"{batch_id} is {record.state.value}, so that there is no output yet", hint="Wait for its end."
            )
        chunks = await self._store.chunks(batch_id)
        names = [str(document["file"]) for each in chunks for document in (each.part, each.errors) if document]
        return ["manifest.json", *names]

    def output_path(self, batch_id: str, name: str) -> Any:
        """Where such a file is."""
        return self._preparation.folder_of(batch_id) / "output" / name

    async def _document(self, record: BatchRecord) -> Json:
        progress = self.runner.progress.get(record.id)
        counts = await self._store.counts(record.id) if progress is None else None
        return record_document(record, progress, counts)

    def _check(self, spec: NewBatch, revision: int) -> Checked:
        checked = self._preparation.check(spec, self._functions.parameters(spec, revision))
        self._preparation.output(spec).check_free()
        return checked

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
