"""``stoker.progress``: how far a call is, for those who watch its job.

The rule that must not break: reporting never fails for a reason that is not the caller's own, and costs next to nothing
where nobody listens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from stoker.context import running_call
from stoker.errors import InvalidInput

MAX_MESSAGE_CHARS: Final = 500
Report = Callable[[str, str], None]
"""Takes the request's id and a line."""


def _nobody(request_id: str, line: str) -> None:
    """Outside of a worker nobody listens."""


_reports: list[Report] = [_nobody]


def report_to(report: Report) -> None:
    """Send what is reported there: for whoever runs user code."""
    _reports[:] = [report]


def progress(fraction: float, message: str = "") -> None:
    """Say how far the running call is: ``fraction`` from 0 to 1, and a few words. It appears among the job's events.

    In a batched function it counts for the first call of the batch.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not math.isfinite(fraction):
        raise InvalidInput(f"progress must be a number from 0 to 1, got {fraction!r}")
    if not 0 <= fraction <= 1:
        raise InvalidInput(
            f"progress must be from 0 to 1, got {fraction!r}", hint="Divide by the total: progress(i / n)."
        )
    call = running_call.get()
    if call is not None and call[0]:
        words = " ".join(str(message).split())[:MAX_MESSAGE_CHARS]
        _reports[0](call[0], f"{float(fraction):.6g} {words}")
