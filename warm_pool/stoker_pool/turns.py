"""Long work on the loop's thread, cut into steps.

The rule that must not break: between two steps everything else that is due gets its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

_Value = TypeVar("_Value")


async def in_turns(steps: Generator[None, None, _Value]) -> _Value:
    """Run one step per turn of the loop; what the generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: _Value = end.value
            return value
        await asyncio.sleep(0)
