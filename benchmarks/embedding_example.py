"""examples/02_embeddings.py without a platform: what a user would run as a plain script."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/02_embeddings.py"
FRESH = """
import sys, types

class Anything:
    def __init__(self, *args, **options): pass

def keep(target=None, **options):
    return keep if target is None else target

stoker = types.ModuleType("stoker")
stoker.Environment = stoker.Batch = stoker.Scaling = Anything
stoker.function = stoker.method = stoker.enter = stoker.exit = keep
sys.modules["stoker"] = stoker
scope = {"__name__": "example"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), scope)
model = scope["Embed"]()
model.load()
print(len(model(["a cold call"])[0]))
"""
"""The example with decorators that do nothing; its path is the first argument."""


def environment_python(data_dir: str) -> str:
    """The interpreter of the only environment that a platform built."""
    found = sorted(Path(data_dir).glob("environments/*/bin/python"))
    if len(found) != 1:
        raise RuntimeError(f"expected one environment under {data_dir}, found {found}")
    return str(found[0])
