"""`stoker run`: a function here, once, its parameters as flags."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli_runs import Shell

APP = '''
from __future__ import annotations
import stoker
from dataclasses import dataclass
from enum import Enum
from typing import Literal

class Mode(Enum):
    FAST = "fast"

@dataclass
class Box:
    w: int

@stoker.function
def double(x: int, note: str = "hi") -> int:
    """Twice as much."""
    return x * 2

@stoker.function
def kinds(flag: bool = False, mode: Mode = Mode.FAST, size: Literal["s", "l"] = "s", box: Box | None = None,
          items: list[int] = [], data: bytes = b"", loose=None, text: str = ""):
    return [flag, mode.value, size, box and box.w, items, len(data), loose, text]

@stoker.function
def boom(x):
    raise ValueError(f"bad {x}")

@stoker.function
def count(n: int):
    yield from range(n)

@stoker.function
async def later(x: int):
    return x

@stoker.function(batch=stoker.Batch())
def lengths(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]

@stoker.function(name="my-embed")
class Embed:
    @stoker.enter
    def load(self):
        self.k = 3
    @stoker.method
    def encode(self, text: str):
        return len(text) * self.k
    @stoker.method
    def other(self):
        return b"\\x00\\x01"

def plain(a, /, b=1):
    return [a, b]
'''


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell in a folder with the file ``cli_run_app.py``; what it imports is forgotten."""
    (tmp_path / "cli_run_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Shell("", tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith(("cli_run", "parts_")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("args", "printed"),
    [
        (["::double", "--x", "21"], "42"),
        (["::double", "x=21"], "42"),
        (["::double", "21"], "42"),
        ([":double", "--x", "21"], "42"),
        (["::kinds", "--flag", "--mode", "fast", "--size", "l"], '[true, "fast", "l", null, [], 0, null, ""]'),
        (["::kinds", 'box={"w": "4"}', "items=[1, 2]"], '[false, "fast", "s", 4, [1, 2], 0, null, ""]'),
        (["::kinds", "loose=1.5", "text=1.5", "data=abc"], '[false, "fast", "s", null, [], 3, 1.5, "1.5"]'),
        (["::count", "3"], "0\n1\n2"),
        (["::later", "x=1"], "1"),
        (["::lengths", "--texts", "abc"], "3"),
        (["::Embed.encode", "--text", "abc"], "9"),
        (["::my-embed.encode", "abc"], "9"),
        (["::plain", "a=1", "b=x"], '[1, "x"]'),
    ],
    ids=str,
)
def test_flags_come_from_type_hints(args: list[str], printed: str, stoker: Shell) -> None:
    target, *values = args
    assert stoker("run", f"cli_run_app.py{target}", *values).stdout == f"{printed}\n"


def test_a_module_is_a_target_too(stoker: Shell) -> None:
    assert stoker("run", "cli_run_app::double", "x=2").stdout == "4\n"


def test_a_file_in_a_package_has_its_relative_imports(stoker: Shell, tmp_path: Path) -> None:
    package = tmp_path / "parts_of_app"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("N = 7\n")
    (package / "main.py").write_text("from .base import N\nimport stoker\n@stoker.function\ndef seven(): return N\n")
    assert stoker("run", "parts_of_app/main.py").stdout == "7\n"
    assert stoker("run", "parts_of_app.main::seven").stdout == "7\n"


def test_help_shows_the_functions_own_words_and_flags(stoker: Shell) -> None:
    printed = stoker("run", "cli_run_app.py::double", "--help").stdout
    assert "Twice as much." in printed
    assert "--x INTEGER" in printed
    assert "default: 'hi'" in printed


def test_bytes_go_to_a_file(stoker: Shell, tmp_path: Path) -> None:
    stoker("run", "-o", "out.bin", "cli_run_app.py::Embed.other")
    assert (tmp_path / "out.bin").read_bytes() == b"\x00\x01"


def test_what_user_code_raises_is_shown_without_our_frames(stoker: Shell) -> None:
    stderr = stoker("run", "cli_run_app.py::boom", "x=3", code=1).stderr
    assert "ValueError: bad 3" in stderr
    assert 'raise ValueError(f"bad {x}")' in stderr
    assert "stoker/cli" not in stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["cli_run_app.py::double"], "missing --x"),
        (["cli_run_app.py::double", "--x", "a"], "not a valid integer"),
        (["cli_run_app.py::double", "1", "--x", "2"], "given twice"),
        (["cli_run_app.py::double", "1", "b", "c"], "too many arguments"),
        (["cli_run_app.py::doubel"], "Did you mean cli_run_app.py::double?"),
        (["cli_run_app.py::Embed"], "Name one: encode, other"),
        (["cli_run_app.py::Embed.nope"], "no method 'nope'"),
        (["cli_run_app.py::double.nope"], "has no method 'nope'"),
        (["cli_run_app.py"], "more than one function"),
        (["missing.py::f"], "no file missing.py"),
        (["cli_run_missing::f"], "no module 'cli_run_missing'"),
        (["cli_run_app.py::"], "a target looks like"),
    ],
    ids=str,
)
def test_a_wrong_command_line_says_what_would_be_right(args: list[str], said: str, stoker: Shell) -> None:
    assert said in stoker("run", *args, code=2).stderr


@pytest.mark.parametrize("command", ["run", "deploy"])
def test_a_file_with_a_syntax_error_is_shown_with_its_line(command: str, stoker: Shell, tmp_path: Path) -> None:
    (tmp_path / "cli_run_broken.py").write_text("import stoker\n\ndef f(:\n")
    stderr = stoker(command, "cli_run_broken.py::f", code=2).stderr
    assert "cli_run_broken.py:3: SyntaxError: " in stderr
    assert "hint: Correct the line: def f(:" in stderr
    assert "Traceback" not in stderr


def test_a_file_named_like_a_module_in_use_does_not_take_its_place(stoker: Shell, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("import stoker\n@stoker.function\ndef f(): return 1\n")
    in_use = sys.modules["json"]
    assert stoker("run", "json.py::f").stdout == "1\n"
    assert sys.modules["json"] is in_use
