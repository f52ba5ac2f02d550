"""`make demo` as a stranger runs it: it ends by itself, well, with nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.examples
def test_the_demo_tours_and_ends_with_a_summary(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/demo.py")], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for promised in ("Receipt of a warm call", "Receipt of a cold call", "0 replicas", "batches of", "Summary"):
        assert promised in done.stdout
    assert not list(tmp_path.glob("stoker-demo-*"))
