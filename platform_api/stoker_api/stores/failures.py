"""What can go wrong with the disk under a store.

The rule that must not break: it is told as an error of our tree, with nothing changed, and a later try may succeed.
"""

from __future__ import annotations

from stoker.errors import PlatformError


class StorageFailed(PlatformError):
    """The disk is full, read-only or broken; nothing was changed."""

    code = "storage_failed"
    status = 507
    retryable = True
    phase = "store"
