"""Each fault once, under a light load: idempotent calls are never lost, and the platform serves on."""

from __future__ import annotations

import random

import pytest

from tests.faults.injector import FAULTS
from tests.faults.load import Load
from tests.support.running_platform import RunningPlatform


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_harms_nobody_else(harmed_platform: RunningPlatform, name: str) -> None:
    with Load(harmed_platform, callers=2) as load:
        FAULTS[name](harmed_platform, random.Random(name))
    load.check()
    assert load.answered["steady"]
