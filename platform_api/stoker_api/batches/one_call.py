"""One row's call, and what its refusals mean for the row and for the run.

The rule that must not break: where nothing ran, the call is made again for as long as it takes; where it may have run,
a few times; what no retry mends stops the run (``RunBlocked``) instead of failing every row.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from stoker.errors import PlatformError
from stoker_api.batches.rows import RowProblem
from stoker_api.internal_calls import CallResult, CallTarget
from stoker_runtime.invocation import Priority

MOST_RUNS: Final = 3
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 10.0
_BLOCKING: Final = frozenset({"crash_looping", "not_found", "bundle_tampered", "environment_build_failed"})
_RUN_AGAIN: Final = frozenset({"worker_lost", "deadline_exceeded"})


class RunBlocked(PlatformError):
    """The function cannot run at all until somebody sets it right."""

    code = "run_blocked"
    status = 503
    phase = "execute"


class RunStopped(Exception):
    """The platform takes no calls any more: the row stays as it is."""


class Calls(Protocol):
    """The part of ``InternalCalls`` that runs use."""

    async def call(
        self, target: CallTarget, body: bytes, *, content_type: str, priority: Priority, request_id: str
    ) -> CallResult: ...


@dataclass(slots=True)
class RowCall:
    """Makes calls of one run."""

    calls: Calls
    target: CallTarget
    stopping: asyncio.Event

    async def run(
        self, body: bytes, request_id: str, priority: Priority, said: list[str | None]
    ) -> CallResult | RowProblem:
        """The answer, or why there is none. ``said[0]`` is what the function's last refusal was, while it lasts."""
        runs, wait_s = 0, _FIRST_WAIT_S
        while True:
            result = await self.calls.call(
                self.target, body, content_type="application/json", priority=priority, request_id=request_id
            )
            if result.problem is None:
                said[0] = None
                return result
            code = str(result.problem.get("code"))
            detail = str(result.problem.get("detail"))
            if code == "shutting_down":
                raise RunStopped
            if code in _BLOCKING:
                raise RunBlocked(f"{self.target} cannot run: {detail}", hint=_hint(result))
            runs += result.ran
            if result.retryable and not result.ran:
                said[0] = detail
            elif code not in _RUN_AGAIN or runs >= MOST_RUNS:
                return _problem(result)
            await self._wait(result.retry_after_s or wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), min(seconds, _LONGEST_WAIT_S))
        except asyncio.TimeoutError:
            return
        raise RunStopped


def _problem(result: CallResult) -> RowProblem:
    problem = result.problem or {}
    detail = problem.get("error_message") or problem.get("detail") or ""
    errors = problem.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0]
        if isinstance(first, dict):
            detail = f"{first.get('path')}: {first.get('message')}"
    return RowProblem(str(problem.get("code")), str(detail), str(problem.get("error_type") or ""))


def _hint(result: CallResult) -> str:
    hint = (result.problem or {}).get("hint")
    return f"{hint or 'Set it right.'} Then `stoker batch resume`: what is done is kept."
