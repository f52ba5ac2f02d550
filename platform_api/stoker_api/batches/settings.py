"""Settings of batch runs.

The rule that must not break: with the defaults, no request makes the platform read or write a path or a URL of the
caller's choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import InvalidOption

_URL_MARK = "://"


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """``STOKER_BATCH_…``."""

    roots: str = ""
    """Folders and URL prefixes that runs may read and write, separated by commas; empty: uploads only."""
    max_running: int = 4
    """Runs at work at once; further ones wait their turn."""
    max_upload_bytes: int = 64 * 1024 * 1024 * 1024
    """Largest input file that a caller may upload."""
    keep_s: float = 7 * 86_400.0
    """How long uploads, and outputs that the platform keeps, stay after the end of their run."""

    def __post_init__(self) -> None:
        if self.max_running < 1:
            raise InvalidOption(f"max_running must be >= 1, got {self.max_running}")
        if self.max_upload_bytes < 1:
            raise InvalidOption(f"max_upload_bytes must be >= 1, got {self.max_upload_bytes}")
        if self.keep_s < 0:
            raise InvalidOption(f"keep_s must be >= 0, got {self.keep_s}")
        for prefix in self.prefixes:
            if _URL_MARK not in prefix and not prefix.startswith("/"):
                raise InvalidOption(
                    f"STOKER_BATCH_ROOTS must name absolute folders and URL prefixes, got {prefix!r}",
                    hint="For example /data,s3://bucket/texts/",
                )

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The roots one by one."""
        return tuple(part.strip() for part in self.roots.split(",") if part.strip())
