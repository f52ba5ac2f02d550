"""One invocation that wants a job: its answer is where to find it, or the result if that comes in time.

The rule that must not break: nothing is answered before the job is on disk, and a caller that leaves takes nothing
with it: the job goes on.
"""

from __future__ import annotations

import asyncio
import logging

from stoker.errors import PlatformError
from stoker_api.gateway.answer import JSON_TYPE, checked_type
from stoker_api.gateway.async_request import AsyncRequest
from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.ports import JobAnswer, JobRequest, Route
from stoker_api.gateway.problems import INTERNAL, PROBLEM_TYPE
from stoker_api.gateway.receipts import refused_timing
from stoker_api.gateway.refusals import AsyncNotAvailable

log = logging.getLogger("stoker.gateway")


class JobCycle(InvokeCycle):
    """``Prefer: respond-async``."""

    __slots__ = ("_task",)

    def begin(self, route: Route) -> None:
        jobs = self._connection.gateway.jobs
        if jobs is None:
            raise AsyncNotAvailable(
                "this platform keeps no jobs", hint="Call without `Prefer: respond-async` and wait for the answer."
            )
        head = self.head
        wanted = head.wants_job or AsyncRequest()
        request = JobRequest(
            namespace=head.namespace,
            function=head.name,
            ref=head.path.rpartition(b"@")[2].decode() if b"@" in head.path else None,
            method=head.method_name,
            body=bytes(self.body),
            content_type=head.content_type,
            is_args=bool(head.encoding),
            accept=head.accept,
            priority=head.job_priority,
            timeout_s=head.timeout_ns / 1e9 if head.timeout_ns else None,
            idempotency_key=head.idempotency_key,
            wait_s=wanted.wait_s,
            webhooks=head.webhooks,
            is_owner=self._is_owner,
        )
        self._connection.gateway.counters.in_flight += 1
        self._task = asyncio.ensure_future(jobs.answer(request))
        self._task.add_done_callback(self._on_answer)

    def cancel(self) -> None:
        """Nobody waits: the job goes on."""

    def _on_answer(self, task: asyncio.Task[JobAnswer]) -> None:
        self._connection.gateway.counters.in_flight -= 1
        error = None if task.cancelled() else task.exception()
        if self.disconnected or self.response_complete or task.cancelled():
            return
        if isinstance(error, PlatformError):
            self.refuse(error)
        elif error is not None:
            log.error("request failed", exc_info=error, extra={"request_id": self._request_id})
            self.refuse(INTERNAL)
        else:
            self._answer(task.result())

    def _answer(self, found: JobAnswer) -> None:
        try:
            content_type = checked_type(found.content_type or JSON_TYPE)
        except PlatformError as error:
            self.refuse(error)
            return
        if found.is_problem:
            content_type = PROBLEM_TYPE
        self.answer(found.status, found.body, content_type, refused_timing(self._started_ns), found.headers)
