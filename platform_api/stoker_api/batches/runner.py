"""Takes runs up, one task each, and carries out what people want of them.

The rule that must not break: the store says what state a run is in, and one task at most works on a run; whatever ends
a task, the run is in a state from which it ends by itself or a person can take it on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import msgspec

from stoker.errors import Conflict, PlatformError
from stoker_api.batches.changes import Changes
from stoker_api.batches.execution import BatchExecution, Parts
from stoker_api.batches.functions import Functions
from stoker_api.batches.manifest import manifest_of
from stoker_api.batches.one_call import Calls, RowCall, RunBlocked
from stoker_api.batches.outputs import Output
from stoker_api.batches.ports import BatchStore
from stoker_api.batches.preparation import Checked, Preparation
from stoker_api.batches.progress import RunProgress
from stoker_api.batches.records import BatchRecord
from stoker_api.batches.settings import BatchSettings
from stoker_api.batches.states import ENDED, BatchState, move
from stoker_api.internal_calls import CallTarget
from stoker_api.stores.failures import StorageFailed
from stoker_runtime.clock import Clock

log = logging.getLogger(__name__)
Json = dict[str, Any]
_FOR_A_PERSON: Final = (RunBlocked, StorageFailed)
"""What pauses a run: it goes on when somebody has set it right."""
_AGAIN_AFTER_S: Final = 5.0


class _Work:
    """A run that has a task."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.wanted: BatchState | None = None
        """What becomes of it when it has stopped; None: nothing changes (the platform ends)."""
        self.execution: BatchExecution | None = None
        self.task: asyncio.Task[None] | None = None

    def stop(self, wanted: BatchState | None) -> None:
        self.wanted = wanted
        if self.execution is not None:
            self.execution.is_gentle = wanted is BatchState.PAUSED
        self.stopping.set()


class BatchRunner:
    """Async context manager. ``wake`` after a run was added."""

    def __init__(
        self,
        *,
        store: BatchStore,
        calls: Calls,
        functions: Functions,
        preparation: Preparation,
        settings: BatchSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._calls = calls
        self._functions = functions
        self._preparation = preparation
        self._settings = settings
        self._clock = clock
        self._active: dict[str, _Work] = {}
        self.progress: dict[str, RunProgress] = {}
        """Of runs that have a task."""
        self.changes = Changes()
        self.rows_done = 0
        self.rows_failed = 0
        """Of runs that this process has had, for metrics."""
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def __aenter__(self) -> BatchRunner:
        await asyncio.to_thread(self._preparation.uploads.mkdir, parents=True, exist_ok=True, mode=0o700)
        self._loop_task = asyncio.ensure_future(self._loop())
        self.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def wake(self) -> None:
        """Look for runs to take up."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop every run where it is; the next start takes them up again."""
        self._is_closing = True
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.wait({self._loop_task})
            self._loop_task = None
        working = [work for work in self._active.values() if work.task is not None]
        for work in working:
            work.stop(None)
        if working:
            await asyncio.wait({work.task for work in working if work.task is not None})
        self.changes.tell_all()

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    # ---- what people want

    async def pause(self, batch_id: str) -> BatchRecord:
        """Let what is in flight end, and take nothing more."""
        return await self._end(batch_id, BatchState.PAUSED)

    async def cancel(self, batch_id: str) -> BatchRecord:
        """Stop for good; what was not published is removed."""
        record = await self._end(batch_id, BatchState.CANCELED)
        await asyncio.to_thread(self._discard, record)
        return record

    async def resume(self, batch_id: str, **changes: object) -> BatchRecord:
        """Go on behind what is done; ``changes`` replace fields of the specification."""
        record = await self._store.find(batch_id)
        if record.state in (BatchState.RUNNING, BatchState.QUEUED):
            return record
        spec = dataclasses.replace(record.spec, **changes)  # type: ignore[arg-type]  # checked at the edge
        record = await self._save(record, BatchState.QUEUED, spec=spec, problem=None, ended_at_s=None)
        self.wake()
        return record

    async def _end(self, batch_id: str, wanted: BatchState) -> BatchRecord:
        record = await self._store.find(batch_id)
        work = self._active.get(batch_id)
        if work is None or work.task is None:
            return record if record.state is wanted else await self._save(record, wanted)
        move(batch_id, record.state, wanted)
        work.stop(wanted)
        await asyncio.wait({work.task})
        record = await self._store.find(batch_id)
        if record.state is not wanted:
            raise Conflict(f"{batch_id} became {record.state.value} meanwhile")
        return record

    # ---- taking runs up

    async def _loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                for record in await self._store.open():
                    if len(self._active) >= self._settings.max_running:
                        break
                    if record.id not in self._active:
                        work = self._active[record.id] = _Work()
                        work.task = asyncio.ensure_future(self._work(record.id, work))
                await self._purge()
            except Exception:  # the next wake looks again: a loop that has died would take up no run any more
                log.exception("batch runs could not be looked at")

    async def _work(self, batch_id: str, work: _Work) -> None:
        try:
            await self._run(batch_id, work)
        except PlatformError as error:
            await self._give_up(batch_id, work, error)
        except Exception as error:
            log.exception("a batch run broke", extra={"batch": batch_id})
            await self._give_up(batch_id, work, error)
        finally:
            del self._active[batch_id]
            progress = self.progress.pop(batch_id, None)
            if progress is not None:
                self.rows_done += progress.fresh
                self.rows_failed += progress.fresh_failed
            self.changes.tell(batch_id)
            self.wake()

    async def _run(self, batch_id: str, work: _Work) -> None:
        record = await self._store.find(batch_id)
        if record.state not in (BatchState.QUEUED, BatchState.RUNNING):
            return
        spec = record.spec
        revision = record.revision or self._functions.pin(spec)
        checked = await asyncio.to_thread(self._preparation.check, spec, self._functions.parameters(spec, revision))
        if record.started_at_s is None:
            await asyncio.to_thread(lambda: self._preparation.output(spec).check_free())
        spec = dataclasses.replace(spec, fingerprints=spec.fingerprints or checked.fingerprints)
        record = await self._start(record, spec=spec, revision=revision)
        counts = await self._store.counts(batch_id)
        opened = await asyncio.to_thread(self._preparation.open, spec, checked, counts.chunks)
        target = CallTarget(namespace=spec.namespace, name=spec.function, ref=str(revision), method=spec.method or None)
        progress = RunProgress(done=counts.rows, failed=counts.failed, committed=counts.rows)
        progress.had, progress.had_failed = counts.rows, counts.failed
        self.progress[batch_id] = progress
        parts = Parts(
            spec=spec,
            call=RowCall(self._calls, target, work.stopping),
            capacity=self._functions.capacity(spec, revision),
            store=self._store,
            items=opened.items,
            open_parts=opened.open_parts,
            start=opened.start,
            clock=self._clock,
            on_change=lambda: self.changes.tell(batch_id),
        )
        work.execution = BatchExecution(parts, progress)
        if await work.execution.run():
            await self._publish(record, opened.output, checked)
        elif work.wanted is not None:
            await self._save(await self._store.find(batch_id), work.wanted)

    async def _start(self, record: BatchRecord, **changes: object) -> BatchRecord:
        started_at_s = record.started_at_s or self._now_s()
        if record.state is BatchState.QUEUED:
            return await self._save(record, BatchState.RUNNING, started_at_s=started_at_s, **changes)
        return dataclasses.replace(record, **changes)  # type: ignore[arg-type]

    async def _publish(self, record: BatchRecord, output: Output, checked: Checked) -> None:
        chunks = await self._store.chunks(record.id)
        manifest = manifest_of(record, chunks, checked.fingerprints, self._clock.now())
        names = [str(document["file"]) for each in chunks for document in (each.part, each.errors) if document]
        await asyncio.to_thread(output.publish, msgspec.json.format(msgspec.json.encode(manifest), indent=1), names)
        rows = sum(chunk.rows for chunk in chunks)
        await self._save(await self._store.find(record.id), BatchState.SUCCEEDED, is_published=True, rows_total=rows)

    async def _give_up(self, batch_id: str, work: _Work, error: Exception) -> None:
        state = BatchState.PAUSED if isinstance(error, _FOR_A_PERSON) else BatchState.FAILED
        progress = self.progress.get(batch_id)
        problem: Json = {"code": "internal", "detail": f"{type(error).__name__}: {error}", "hint": None}
        if isinstance(error, PlatformError):
            problem = {"code": error.code, "detail": error.detail, "hint": error.hint}
        if progress is not None:
            problem |= {"errors": list(progress.errors), "done": progress.done, "failed": progress.failed}
        try:
            record = await self._store.find(batch_id)
            if record.state in (BatchState.QUEUED, BatchState.RUNNING):
                await self._save(record, state, problem=problem)
        except PlatformError:
            log.exception("a batch run's end could not be written", extra={"batch": batch_id})
            with contextlib.suppress(asyncio.TimeoutError):  # it is taken up again, but not in a hurry
                await asyncio.wait_for(work.stopping.wait(), _AGAIN_AFTER_S)

    async def _save(self, record: BatchRecord, state: BatchState, **changes: object) -> BatchRecord:
        now_s = self._now_s()
        move(record.id, record.state, state)
        if state in ENDED:
            changes.setdefault("ended_at_s", now_s)
        new = dataclasses.replace(record, state=state, updated_at_s=now_s, **changes)  # type: ignore[arg-type]
        await self._store.save(new, record.state)
        self.changes.tell(record.id)
        return new

    # ---- what is left over

    async def _purge(self) -> None:
        """Remove what ended long ago."""
        before_s = self._now_s() - self._settings.keep_s
        ended = await self._store.ended_before(before_s)
        needed = frozenset(await self._store.inputs_needed())
        await asyncio.to_thread(self._remove, ended, before_s, needed)

    def _remove(self, batch_ids: Sequence[str], before_s: float, needed: frozenset[str]) -> None:
        for batch_id in batch_ids:
            shutil.rmtree(self._preparation.folder_of(batch_id), ignore_errors=True)
        self._preparation.forget_uploads(before_s, needed)

    def _discard(self, record: BatchRecord) -> None:
        self._preparation.output(record.spec).discard()
        shutil.rmtree(self._preparation.folder_of(record.id), ignore_errors=True)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
