"""Calls that the platform makes by itself, for jobs, batches and schedules: the same way as a caller's, without HTTP.

The rule that must not break: a call ends exactly once, with a result or a problem document, never with an exception;
canceling the task that waits for it cancels the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from stoker.errors import PlatformError
from stoker_api.gateway.answer import JSON_TYPE
from stoker_api.gateway.head import ARGS_TYPE
from stoker_api.gateway.ports import Router
from stoker_api.gateway.problems import problem
from stoker_api.gateway.receipts import receipt
from stoker_runtime.call_state import SENT
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.frames import CallEncoding
from stoker_runtime.invocation import Invocation, Outcome, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTarget:
    """What is called."""

    namespace: str
    name: str
    ref: str | None = None
    """An alias or a revision's number; None: ``latest``."""
    method: str | None = None

    @property
    def path(self) -> bytes:
        """As the route table takes it."""
        at = f"@{self.ref}" if self.ref else ""
        return f"/n/{self.namespace}/f/{self.name}{at}".encode()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + (f"@{self.ref}" if self.ref else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """How a call ended."""

    status: int
    """As HTTP would say it."""
    body: bytes = b""
    content_type: str = JSON_TYPE
    problem: dict[str, object] | None = None
    """Why it failed; None: it did not."""
    retryable: bool = False
    """The error says that a retry may help."""
    ran: bool = True
    """User code may have run; False: nothing did, so that running it again does no harm."""
    receipt: dict[str, object] | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    retry_after_s: float | None = None


class CallEvent(IntEnum):
    """What is told of a call before its end."""

    STARTING = 0  # it waits for a replica to start
    SENT = 1  # a replica has it


OnEvent = Callable[[CallEvent], None]


class InternalCalls:
    """Goes through the route table to a dispatcher, on the loop's thread."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def call(
        self,
        target: CallTarget,
        body: bytes,
        *,
        content_type: str = "",
        accept: str = "",
        priority: Priority = Priority.BACKGROUND,
        request_id: str,
        deadline_s: float | None = None,
        on_event: OnEvent | None = None,
    ) -> CallResult:
        """Run one call. ``deadline_s``: seconds from now. ``on_event`` is called on the loop's thread."""
        done: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()

        def on_done(invocation: Invocation) -> None:
            if not done.done():
                done.set_result(invocation)

        now_ns = monotonic_ns()
        is_args = content_type == ARGS_TYPE
        invocation = _WatchedInvocation(
            body,
            "" if is_args or content_type == JSON_TYPE else content_type,
            on_done,
            request_id=request_id,
            method=target.method or "",
            accept=accept,
            encoding=int(CallEncoding.ARGS if is_args else CallEncoding.INVOKE),
            priority=priority,
            deadline_ns=now_ns + int(deadline_s * 1e9) if deadline_s else 0,
            accepted_ns=now_ns,
        )
        invocation.on_event = on_event
        if on_event is not None:
            invocation.on_phase = lambda _: on_event(CallEvent.STARTING)
        try:
            route = self._router.resolve(target.path, request_id.encode())
            route.dispatcher.submit(invocation)
        except PlatformError as error:
            return _failed(error, target, request_id, ran=False)
        try:
            ended = await done
        except asyncio.CancelledError:
            if invocation.cancel is not None:
                invocation.cancel()
            raise
        outcome = ended.outcome
        assert outcome is not None
        if route.on_done is not None:
            route.on_done(ended)
        return _result(outcome, ended, target, was_sent=invocation.was_sent)


class _WatchedInvocation(Invocation):
    """A call that tells when a replica gets it; plain calls do not pay for this."""

    __slots__ = ("_state", "on_event", "was_sent")

    interrupts = True

    def __init__(self, body: bytes, content_type: str, on_done: Callable[[Invocation], None], **rest: Any) -> None:
        self.on_event: OnEvent | None = None
        self.was_sent = False
        super().__init__(body, content_type, on_done, **rest)

    @property
    def state(self) -> int:
        """Where it is, as the dispatcher keeps it."""
        return self._state

    @state.setter
    def state(self, value: int) -> None:
        self._state = value
        if value == SENT:
            self.was_sent = True
            if self.on_event is not None:
                self.on_event(CallEvent.SENT)


def _result(outcome: Outcome, invocation: Invocation, target: CallTarget, *, was_sent: bool) -> CallResult:
    if outcome.error is not None:
        return _failed(outcome.error, target, invocation.request_id, ran=was_sent, receipt=receipt(invocation))
    return CallResult(
        status=outcome.http_status or 200,
        body=bytes(outcome.body),
        content_type=outcome.content_type or JSON_TYPE,
        receipt=receipt(invocation),
        headers=list(outcome.headers or ()),
    )


def _failed(
    error: PlatformError, target: CallTarget, request_id: str, *, ran: bool, receipt: dict[str, object] | None = None
) -> CallResult:
    return CallResult(
        status=error.status,
        problem=problem(error, request_id=request_id, function=f"{target.namespace}/{target.name}", is_owner=True),
        retryable=error.retryable,
        ran=ran,
        receipt=receipt,
        retry_after_s=error.retry_after_s,
    )
