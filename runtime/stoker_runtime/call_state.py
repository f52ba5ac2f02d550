"""Where an open call is: the values of ``Invocation.state`` while it has no outcome."""

from __future__ import annotations

from typing import Final

NOWHERE: Final = 0
QUEUED: Final = 1
SENT: Final = 2
DELAYED: Final = 3
"""It will be queued again when its retry delay has passed."""
