"""What becomes of a job after a run.

Pure. The rule that must not break: what may have run is run again only where that does no harm (the function is
idempotent, or who submitted said how often it may run); what certainly did not run is put back, and that uses up no
attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stoker.errors import Canceled, DeadlineExceeded, FunctionError, WorkerLost
from stoker.options import FunctionOptions
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.states import JobState

_LARGEST_STEP: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How often a job may run."""

    attempts: int
    is_repeatable: bool
    """It may run again although a run before may have done something."""
    retries_errors: bool = False
    """Also when user code raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended, as far as it matters here."""

    code: str | None
    """Of the problem; None: it succeeded."""
    is_retryable: bool = False
    ran: bool = True
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do: end the job in a state, or put it back for so long."""

    ends: JobState | None
    delay_s: float = 0.0
    counts: bool = True


def allowance(max_attempts: int | None, options: FunctionOptions | None) -> Allowance:
    """What the job and its function allow; a job's own number says that it may run so often, whatever happens."""
    if max_attempts is not None:
        return Allowance(attempts=max_attempts, is_repeatable=max_attempts > 1, retries_errors=max_attempts > 1)
    if options is None:
        return Allowance(attempts=1, is_repeatable=False)
    return Allowance(attempts=options.retries.max_attempts, is_repeatable=options.idempotent)


def verdict(
    outcome: RunOutcome, allowed: Allowance, *, attempts: int, delays: int, settings: JobSettings, jitter: float
) -> Verdict:
    """Judge a run. ``attempts`` counts it; ``jitter`` is from 0 to 1."""
    if outcome.code is None:
        return Verdict(ends=JobState.SUCCEEDED)
    if outcome.code == Canceled.code and outcome.ran:
        return Verdict(ends=JobState.CANCELED)
    if not outcome.ran and (outcome.is_retryable or outcome.code == Canceled.code):
        delay_s = backoff_s(delays, settings, jitter)
        return Verdict(ends=None, delay_s=max(delay_s, outcome.retry_after_s or 0.0), counts=False)
    if _may_help(outcome, allowed) and allowed.is_repeatable and attempts < allowed.attempts:
        return Verdict(ends=None, delay_s=backoff_s(attempts - 1, settings, jitter))
    return Verdict(ends=JobState.TIMED_OUT if outcome.code == DeadlineExceeded.code else JobState.FAILED)


def backoff_s(steps: int, settings: JobSettings, jitter: float) -> float:
    """Exponential, and spread over the half below so that jobs that failed together do not come back together."""
    whole = min(settings.retry_delay_s * 2.0 ** min(max(steps, 0), _LARGEST_STEP), settings.max_retry_delay_s)
    return whole * (0.5 + 0.5 * jitter)


def _may_help(outcome: RunOutcome, allowed: Allowance) -> bool:
    if outcome.code == FunctionError.code:
        return allowed.retries_errors
    return outcome.is_retryable or outcome.code == WorkerLost.code
