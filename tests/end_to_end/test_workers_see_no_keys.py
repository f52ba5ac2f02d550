"""User code cannot read the platform's keys, tokens or database: under root, where file modes alone may not hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.running_platform import running_platform

SOURCE = """
import os

def look(path):
    found = []
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                open(os.path.join(folder, name), "rb").read(1)
                found.append(os.path.relpath(os.path.join(folder, name), path))
            except OSError:
                pass
    return found

def name_one(path):
    try:
        return len(open(path, "rb").read())
    except OSError as error:
        return type(error).__name__
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="without root a worker is the platform's own user")
def test_a_function_reads_nothing_of_the_platform(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform, platform.client() as http:
        platform.deploy("look", SOURCE)
        platform.deploy("name_one", SOURCE)

        seen = http.post("/f/look", json={"path": str(tmp_path)}).json()
        token = http.post("/f/name_one", json={"path": str(tmp_path / "connection.json")}).json()

        assert (tmp_path / "connection.json").exists()
        assert [path for path in seen if not path.startswith("work/")] == []
        assert isinstance(token, str), f"a function read {token} bytes of connection.json"
