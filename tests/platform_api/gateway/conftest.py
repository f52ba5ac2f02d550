"""These tests run on the loop that the platform runs on: what a closed or paused transport does is the loop's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], uvloop.Loop]]:
    return {"uvloop": uvloop.new_event_loop}
