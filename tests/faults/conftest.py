"""One platform for all faults: each must leave it as it found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.functions import SETTINGS, deploy_all
from tests.support.running_platform import RunningPlatform, running_platform


@pytest.fixture(scope="module")
def harmed_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(Path(tmp_path_factory.mktemp("faults"), "data"), SETTINGS) as platform:
        deploy_all(platform)
        yield platform
        assert not platform.faults()
