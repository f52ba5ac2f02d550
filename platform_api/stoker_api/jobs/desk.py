"""Takes invocations that want a job. Implements the gateway's ``JobDesk``.

The rule that must not break: a caller gets the result or the job, and either way the function was asked once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from stoker_api.gateway.head import ARGS_TYPE
from stoker_api.gateway.ports import JobAnswer, JobRequest
from stoker_api.jobs.documents import ended_answer, pending_answer
from stoker_api.jobs.records import NewJob
from stoker_api.jobs.service import Jobs
from stoker_api.jobs.states import JobPriority

CheckedWebhooks = Callable[[str, Sequence[str]], Awaitable[tuple[str, ...]]]
"""Namespace and what was named → where to tell; raises for what is not known there."""


class InvocationDesk:
    """One per platform."""

    def __init__(self, jobs: Jobs, checked_webhooks: CheckedWebhooks) -> None:
        self._jobs = jobs
        self._checked_webhooks = checked_webhooks

    async def answer(self, request: JobRequest) -> JobAnswer:
        """Submit, and wait as long as the caller wants."""
        webhook_ids = await self._checked_webhooks(request.namespace, request.webhooks)
        record, _ = await self._jobs.submit(self._job_of(request, webhook_ids))
        if request.wait_s:
            record = await self._jobs.wait(record.id, request.wait_s)
        if not request.wait_s or not record.has_ended:
            return pending_answer(record, is_owner=request.is_owner)
        result = await self._jobs.result(record.id)
        return ended_answer(record, result, is_owner=request.is_owner)

    def _job_of(self, request: JobRequest, webhook_ids: tuple[str, ...]) -> NewJob:
        usual = JobPriority.INTERACTIVE if request.wait_s else JobPriority.BACKGROUND
        return NewJob(
            id=self._jobs.new_id(),
            namespace=request.namespace,
            function=request.function,
            ref=request.ref,
            method=request.method,
            body=request.body,
            content_type=ARGS_TYPE if request.is_args else request.content_type,
            accept=request.accept,
            priority=usual if request.priority is None else JobPriority(request.priority),
            timeout_s=request.timeout_s,
            idempotency_key=request.idempotency_key,
            webhook_ids=webhook_ids,
        )
