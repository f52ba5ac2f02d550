"""What stands in the platform's own environment reaches no function: a function has its env and its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.running_platform import running_platform

SOURCE = "import os\n\ndef variables():\n    return dict(os.environ)\n"


def test_a_function_sees_its_own_variables_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_PASSWORD", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with running_platform(tmp_path) as platform, platform.client() as http:
        platform.deploy("variables", SOURCE, env={"COLOUR": "red"})

        seen = http.post("/f/variables", json={}).json()

        assert seen["COLOUR"] == "red"
        assert "hunter2" not in seen.values()
        assert "PATH" in seen
