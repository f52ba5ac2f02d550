"""How jobs are run and kept.

The rule that must not break: every amount that jobs could pile up has a bound here, with its unit in its name.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from stoker.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """Set by ``STOKER_JOBS_…``."""

    max_running: int = 1024
    """Jobs that are handed to functions at once; the others wait on disk."""
    lease_s: float = 30.0
    """A runner that is silent for so long is taken for dead, and its jobs are run by another."""
    inline_bytes: int = 32 * 1024
    """Bodies and results up to this size are rows of the database; larger ones are files of their own."""
    max_result_bytes: int = 256 * 1024 * 1024
    """A job whose result is larger fails."""
    max_results_bytes: int = 10 * 1024 * 1024 * 1024
    """All results together; over it the oldest are forgotten."""
    result_ttl_s: float = 7 * 86_400.0
    """How long a job that succeeded or was canceled is kept."""
    dead_ttl_s: float = 30 * 86_400.0
    """How long a dead letter (failed, timed_out, expired) is kept."""
    max_events: int = 1000
    """Progress and log lines kept of one job; the newest stay."""
    retry_delay_s: float = 1.0
    """Before the first retry; twice as long before each further one, with jitter."""
    max_retry_delay_s: float = 300.0

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value <= 0:
                raise InvalidOption(f"{spec.name} must be > 0, got {value!r}")
