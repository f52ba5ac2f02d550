"""A function's life as its user types it: deploy, call, look, scale, roll back, delete, on a real platform."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.served_platform import CLI, ServedPlatform, served_platform

FIRST = """
import stoker

@stoker.function(idempotent=True)
def double(x: int) -> int:
    print("doubling", x)
    return x * 2

@stoker.function
def boom(x: int) -> int:
    raise ValueError(f"bad {x}")

@stoker.function
def count(n: int):
    yield from range(n)
"""
SECOND = FIRST.replace("x * 2", "x * 2 + 1")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlatform]:
    """A platform on an empty data directory, for all of this file."""
    with served_platform(tmp_path_factory.mktemp("data")) as platform:
        yield platform


def stoker(platform: ServedPlatform, *args: str) -> subprocess.CompletedProcess[str]:
    """Run it, however it ends."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("STOKER_")}
    env["STOKER_DATA_DIR"] = str(platform.data_dir)
    return subprocess.run([platform.python, *CLI, *args], env=env, capture_output=True, text=True, timeout=300)


def document(platform: ServedPlatform, *args: str) -> Any:
    """What `stoker ARGS --json` printed."""
    return json.loads(platform.cli(*args, "--json").stdout)


def test_a_functions_whole_life(platform: ServedPlatform, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(FIRST)

    deployed = document(platform, "deploy", str(app))["functions"]
    assert [(item["name"], item["revision"], item["created"]) for item in deployed] == [
        ("double", 1, True),
        ("boom", 1, True),
        ("count", 1, True),
    ]
    assert "unchanged" in platform.cli("deploy", f"{app}::double").stdout

    assert platform.cli("call", "double", "x=21").stdout == "42\n"
    assert platform.cli("call", "count", "n=3", "--stream").stdout == "0\n1\n2\n"
    assert document(platform, "call", "double", "--x", "4", "--receipt")["receipt"]["batch_size"] == 1

    described = document(platform, "describe", "double")
    assert described["stats"]["calls"] == 2
    assert "x: integer" in platform.cli("describe", "double").stdout
    assert any("doubling 21" in line for line in platform.cli("logs", "double").stdout.splitlines())
    assert document(platform, "ps")["devices"]

    platform.cli("scale", "double", "--max", "2", "--keep-alive-s", "600")
    assert document(platform, "warmup", "double")["replicas"] >= 1
    assert document(platform, "scale", "double")["max_replicas"] == 2

    app.write_text(SECOND)
    platform.cli("deploy", f"{app}::double")
    assert platform.cli("call", "double", "x=21").stdout == "43\n"
    assert document(platform, "scale", "double")["max_replicas"] == 2  # a redeploy keeps it

    platform.cli("promote", "double@1", "--alias", "prod")
    assert platform.cli("call", "double@prod", "x=21").stdout == "42\n"
    platform.cli("rollback", "double")
    assert platform.cli("call", "double", "x=21").stdout == "42\n"
    assert [item["revision"] for item in document(platform, "history", "double")["revisions"]] == [2, 1]

    refused = stoker(platform, "delete", "double", "--yes")
    assert refused.returncode == 7, refused.stderr  # prod points at it
    platform.cli("alias", "delete", "double", "prod")
    platform.cli("delete", "double", "--yes", "--force")
    assert "double" not in platform.cli("list").stdout


def test_failures_end_with_their_codes(platform: ServedPlatform, tmp_path: Path) -> None:
    app = tmp_path / "failing.py"
    app.write_text(FIRST)
    platform.cli("deploy", f"{app}::boom", "--name", "boom-again")

    raised = stoker(platform, "call", "boom-again", "x=3")
    assert raised.returncode == 1
    assert "failing.py" in raised.stderr
    assert "error: ValueError: bad 3" in raised.stderr
    assert stoker(platform, "call", "boom-again", "x=three").returncode == 2
    assert stoker(platform, "describe", "nothing").returncode == 3


def test_tokens_and_secrets_are_kept_by_command(platform: ServedPlatform) -> None:
    made = document(platform, "token", "create", "reader", "--scope", "invoke")
    env = {**os.environ, "STOKER_URL": platform.url, "STOKER_TOKEN": made["token"]}
    denied = subprocess.run(
        [platform.python, *CLI, "token", "list"], env=env, capture_output=True, text=True, timeout=300
    )
    assert denied.returncode == 4, denied.stderr
    platform.cli("token", "revoke", made["id"])
    assert made["id"] not in platform.cli("token", "list").stdout

    env = {**os.environ, "STOKER_DATA_DIR": str(platform.data_dir)}
    command = [platform.python, *CLI, "secret", "set", "API_KEY"]
    subprocess.run(command, env=env, input="s3cret", capture_output=True, text=True, timeout=300, check=True)
    assert "API_KEY" in platform.cli("secret", "list").stdout
    platform.cli("secret", "delete", "API_KEY", "--yes")
    assert "API_KEY" not in platform.cli("secret", "list").stdout
