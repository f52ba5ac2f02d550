"""The examples at the end of a command's help.

The rule that must not break: each stands on a line of its own, ready to be copied.
"""

from __future__ import annotations


def examples(*lines: str) -> str:
    """An epilog that click does not wrap."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
