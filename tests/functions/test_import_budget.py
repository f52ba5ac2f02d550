"""`import stoker` stays light: what it may bring along, and what it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "click",
    "cloudpickle",
    "concurrent.futures",
    "cryptography",
    "fastapi",
    "httpx",
    "importlib.metadata",
    "numpy",
    "pydantic",
    "rich",
    "starlette",
    "torch",
    "uvicorn",
)


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import stoker",
        "import stoker\n@stoker.function(batch=stoker.Batch(), warmup={'x': 1})\ndef f(x): return x\nf.target",
        "import stoker\nstoker.Function.from_name('embed', revision=3)",
    ],
    ids=["import", "decorate", "from-name"],
)
def test_importing_and_decorating_is_light(statement: str) -> None:
    light = modules_after("import json, inspect, dis")  # what the interpreter's own set-up brings is not ours
    assert (modules_after(statement) - light) & set(HEAVY) == set()


def test_no_other_floor_is_imported() -> None:
    tops = {name.partition(".")[0] for name in modules_after("import stoker.client, stoker.deployment")}
    assert tops & {"stoker_runtime", "stoker_pool", "stoker_api", "fastapi", "uvicorn", "starlette"} == set()


def test_loading_a_bundle_needs_no_web_client() -> None:
    assert "httpx" not in modules_after("import stoker.bundle, stoker.signing, stoker.preflight")
