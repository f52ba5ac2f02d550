"""Hints written as text still mean something in the worker, and the user's objects stay as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

APP = """
from __future__ import annotations
import dataclasses, pydantic, typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Ghost

class Model(pydantic.BaseModel):
    x: int

@dataclasses.dataclass
class Inner:
    y: Model

@dataclasses.dataclass
class Outer:
    inner: list[Inner]

class Typed(typing.TypedDict):
    m: Model

class Embed:
    def __call__(self, a: Model, b: dict[str, Outer], c: Typed) -> Inner: ...

def ghost(a: Model, g: Ghost = None): ...
"""

MAKE = """
import app, pathlib
from stoker.bundle import build_bundle, read_manifest
for target in (app.Embed, app.ghost):
    data = build_bundle(target)
    pathlib.Path(target.__name__).write_bytes(data)
    print(read_manifest(data).modules)
print(app.Embed.__call__.__annotations__["a"], app.Inner.__annotations__, app.ghost.__annotations__)
print([field.type for field in __import__("dataclasses").fields(app.Inner)])
"""

LOAD = """
import pathlib, sys, typing, dataclasses
from stoker.bundle import load_target
hints = typing.get_type_hints(load_target(pathlib.Path("Embed").read_bytes(), "Embed").__call__)
outer = typing.get_args(hints["b"])[1]
inner = typing.get_args(dataclasses.fields(outer)[0].type)[0]
print(inner is hints["return"], dataclasses.fields(inner)[0].type is hints["a"])
print(typing.get_type_hints(hints["c"])["m"] is hints["a"], hints["a"](x="3").x)
print(load_target(pathlib.Path("ghost").read_bytes(), "ghost").__annotations__["a"].__name__)
print("app" in sys.modules)
"""


def run(code: str, folder: Path, *flags: str) -> list[str]:
    command = [sys.executable, *flags, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=folder)
    return done.stdout.splitlines()


def test_hints_written_as_text_survive(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    made = run(MAKE, tmp_path)
    assert made == [
        "('pydantic',)",
        "('pydantic',)",
        "Model {'y': 'Model'} {'a': 'Model', 'g': 'Ghost'}",
        "['Model']",
    ]
    (tmp_path / "app.py").unlink()
    assert run(LOAD, tmp_path) == ["True True", "True 3", "Model", "False"]


def test_fields_of_this_file_stay_text() -> None:
    from stoker.hints import resolved_hints

    def f(x: int) -> Path: ...  # type: ignore[empty-body]

    with resolved_hints(f):
        assert f.__annotations__ == {"x": int, "return": Path}
    assert f.__annotations__ == {"x": "int", "return": "Path"}
