"""Waiting for an event, with a limit."""

from __future__ import annotations

import asyncio


async def within(limit_s: float, event: asyncio.Event) -> bool:
    """Wait for the event, but not for longer; whether it came."""
    try:
        await asyncio.wait_for(event.wait(), limit_s)
    except (TimeoutError, asyncio.TimeoutError):
        return False
    return True
