"""Forgets jobs that have been kept for long enough, and the oldest results when there are too many.

The rule that must not break: a job that has not ended is never forgotten, and a file goes only after the row that
named it.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Final

from stoker_api.jobs.payloads import Payloads
from stoker_api.jobs.ports import Purged, RunStore
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.states import DEAD, ENDED, JobState
from stoker_api.jobs.waiting import within
from stoker_api.stores.failures import StorageFailed
from stoker_runtime.clock import Clock

log = logging.getLogger(__name__)
_PERIOD_S: Final = 60.0
_MOST_AT_ONCE: Final = 500


class JobJanitor:
    """Async context manager: cleans up once a minute."""

    def __init__(self, store: RunStore, payloads: Payloads, clock: Clock, settings: JobSettings) -> None:
        self._store = store
        self._payloads = payloads
        self._clock = clock
        self._settings = settings
        self._stopping = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> JobJanitor:
        await self._payloads.sweep(await self._store.blobs())
        self._loop = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._loop is not None:
            await self._loop

    async def clean(self) -> int:
        """Forget what is due; how many jobs."""
        now_s, settings = self._clock.now().timestamp(), self._settings
        before_s = {state: now_s - (settings.dead_ttl_s if state in DEAD else settings.result_ttl_s) for state in ENDED}
        count = await self.purge(before_s)
        over_bytes = await self._store.kept_bytes() - settings.max_results_bytes
        while over_bytes > 0:
            purged = await self._store.purge_largest(over_bytes, _MOST_AT_ONCE)
            await self._forget(purged)
            count += len(purged)
            over_bytes -= sum(job.result_bytes for job in purged)
            if not purged:
                break
        return count

    async def purge(self, ended_before_s: dict[JobState, float]) -> int:
        """Forget jobs that ended before a time, by their state; how many."""
        count = 0
        while True:
            purged = await self._store.purge(ended_before_s, _MOST_AT_ONCE)
            await self._forget(purged)
            count += len(purged)
            if not purged:
                return count

    async def _forget(self, purged: list[Purged]) -> None:
        await self._payloads.remove([blob for job in purged for blob in job.blobs])

    async def _run(self) -> None:
        while not await within(_PERIOD_S, self._stopping):
            try:
                count = await self.clean()
                if count:
                    log.info("jobs forgotten", extra={"jobs": count})
            except StorageFailed as error:
                log.error("jobs cannot be cleaned up", extra={"reason": error.detail})
