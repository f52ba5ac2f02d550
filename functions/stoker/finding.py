"""One reason why a function would break at run time, with its fix.

The rule that must not break: a message names the thing, a fix says what to write instead, and neither repeats a
secret's value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoker.errors import PreflightFailed


@dataclass(frozen=True, slots=True)
class Finding:
    """``is_error`` false is a warning: shown, and not refused."""

    code: str
    message: str
    fix: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.message} ({self.code})\n    fix: {self.fix}"


def raise_for_findings(name: str, findings: Iterable[Finding]) -> None:
    """Raise ``PreflightFailed`` with all errors at once; warnings alone pass."""
    errors = [finding for finding in findings if finding.is_error]
    if not errors:
        return
    reasons = "".join(f"\n  - {finding}" for finding in errors)
    raise PreflightFailed(
        f"{name} would break at run time:{reasons}",
        findings=tuple((finding.code, finding.message, finding.fix) for finding in errors),
    )
