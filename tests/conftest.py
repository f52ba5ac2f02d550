"""Shared by every test: the repository root on the path, and the rule that no test leaves a process behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_behind() -> Iterator[None]:
    """After the last test, this process has no child, and no descendant was orphaned to it."""
    from tests.support.processes import become_subreaper, children_that_stay

    become_subreaper()
    yield
    left = children_that_stay(limit_s=10.0)
    assert not left, f"processes left behind: {left}"
