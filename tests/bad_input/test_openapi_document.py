"""Our own OpenAPI document, walked by schemathesis: nothing that it allows or forbids comes out as a 5xx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.running_platform import RunningPlatform

LEFT_OUT = "|".join(
    [
        "^/v1/environments$",  # would install what it makes up
        "^/v1/tokens/",  # would revoke the token that it comes with
        "^/f/",  # a function may raise what it likes, and a caller may allow it 1 ms
        "^/n/",
    ]
)
RUN = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


def test_no_server_errors(platform: RunningPlatform, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-c", RUN, "run", f"{platform.url}/openapi.json", "--checks", "not_a_server_error",
            "-H", f"Authorization: Bearer {platform.token}", "--phases", "coverage,fuzzing", "--max-examples", "3",
            "--no-color", "--seed", "1", "--exclude-path-regex", LEFT_OUT,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: " in done.stdout
