"""Tasks with an owner.

The rule that must not break: a task that is started here is awaited here, and its error is logged, never lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from stoker.errors import PlatformError

log = logging.getLogger(__name__)

_Value = TypeVar("_Value")


class OwnedTasks:
    """A set of tasks that ends with its owner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, _Value], name: str) -> asyncio.Task[_Value]:
        """Run ``work`` until it ends or ``close`` cancels it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PlatformError):  # told on purpose to whoever waits for the task
            log.info("a task of the pool was refused", extra={"task": task.get_name(), "error": error.detail})
        elif error is not None:
            log.error("a task of the pool failed", extra={"task": task.get_name()}, exc_info=error)
