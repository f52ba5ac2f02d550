"""Loading weights, tested where torch is: in the interpreter of the torch examples."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TORCH_PYTHON = ROOT / ".cache/examples-env/bin/python"


@pytest.mark.slow
def test_weights_load_with_a_real_torch() -> None:
    if not TORCH_PYTHON.exists():
        message = "`make examples-env` makes the interpreter that has torch"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)

    command = [TORCH_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/functions/test_weights.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
