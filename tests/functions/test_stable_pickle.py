"""What comes out of a pickle equals what went in, also where identity or a file's name carries the meaning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.stable_pickle import dumps

APP = """
from __future__ import annotations
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import ClassVar

@dataclass
class Box:
    width: int
    _: KW_ONLY
    tags: list[str] = field(default_factory=list)
    height: int = 2
    scale: InitVar[int] = 3
    unit: ClassVar[str] = "mm"

def area(box: Box) -> int:
    return box.width * box.height

def boom() -> None:
    raise ValueError("boom")
"""

MAKE = """
import pathlib
from pack import app
from stoker.bundle import build_bundle
for target in (app.area, app.boom):
    pathlib.Path(target.__name__).write_bytes(build_bundle(target))
"""

LOAD = """
import dataclasses, pathlib, traceback, typing
from pydantic import TypeAdapter
from stoker.bundle import load_target
Box = typing.get_type_hints(load_target(pathlib.Path("area").read_bytes(), "area"))["box"]
print([(f.name, f.default is dataclasses.MISSING, f.kw_only) for f in dataclasses.fields(Box)])
print(TypeAdapter(Box).validate_python({"width": "4"}), dataclasses.replace(Box(1, tags=["a"]), width=2, scale=1))
try:
    load_target(pathlib.Path("boom").read_bytes(), "boom")()
except ValueError as error:
    print(traceback.extract_tb(error.__traceback__)[-1].filename)
"""


def test_a_dataclass_by_value_is_still_one(tmp_path: Path) -> None:
    lines = _made_and_loaded(tmp_path)

    assert lines[0] == "[('width', True, False), ('tags', True, True), ('height', False, True)]"
    assert lines[1] == "Box(width=4, tags=[], height=2) Box(width=2, tags=['a'], height=2)"


def test_a_remote_traceback_names_the_users_file(tmp_path: Path) -> None:
    assert _made_and_loaded(tmp_path)[2] == "pack/app.py"


def test_who_imported_a_module_does_not_change_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(text: str) -> object:
        return json.loads(text)

    before = dumps(parse)
    monkeypatch.setattr(json, "__name__", "".join(["js", "on"]))  # equal, but another object

    assert dumps(parse) == before


def _make(folder: Path) -> None:
    (folder / "pack").mkdir(parents=True)
    (folder / "pack" / "__init__.py").touch()
    (folder / "pack" / "app.py").write_text(APP)
    _run(MAKE, folder)


def _made_and_loaded(folder: Path) -> list[str]:
    _make(folder)
    (folder / "pack" / "app.py").unlink()
    return _run(LOAD, folder)


def _run(code: str, folder: Path) -> list[str]:
    done = subprocess.run(  # our own interpreter and code
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
