"""When to stop starting replicas of a revision that cannot start.

The rule that must not break: after ``limit`` failed starts in a row nothing starts until someone says so. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import CrashLooping, PlatformError, StartFailed

FAILED_STARTS: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Failed starts in a row, and what the last one said."""

    failures: int = 0
    is_open: bool = False
    reason: str = ""
    start_phase: str = ""
    log_tail: str = ""


CLOSED = Breaker()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerInfo:
    """An open breaker, for ``stoker describe``."""

    revision: int
    failures: int
    reason: str
    start_phase: str
    log_tail: str


def after_failure(breaker: Breaker, error: PlatformError, limit: int = FAILED_STARTS) -> Breaker:
    """One more start failed."""
    failures = breaker.failures + 1
    return Breaker(
        failures=failures,
        is_open=failures >= limit,
        reason=error.detail,
        start_phase=error.start_phase if isinstance(error, StartFailed) else error.phase,
        log_tail=error.log_tail if isinstance(error, StartFailed) else "",
    )


def is_worth_another_try(error: PlatformError) -> bool:
    """Whether the same start may well succeed at once: a process died, rather than something was refused."""
    return isinstance(error, StartFailed)


def crash_looping(name: str, breaker: Breaker) -> CrashLooping:
    """What callers are told while the breaker is open."""
    return CrashLooping(
        f"{name} is stopped after {breaker.failures} failed starts: {breaker.reason}",
        start_phase=breaker.start_phase,
        log_tail=breaker.log_tail,
        hint="Mend the cause, then deploy again or run `stoker retry`.",
    )
