"""Every block of docs/sdk.md runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import stoker

PAGE = (Path(__file__).resolve().parents[2] / "docs/sdk.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
NAMED = sorted(set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+|NotReady|Overloaded)`", PAGE.partition("## When things")[2])))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"(?:def|class) (\w+)", block)[-1])
def test_a_block_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sdk_page_block")
    monkeypatch.setitem(sys.modules, "sdk_page_block", module)
    exec(compile(block, "docs/sdk.md", "exec"), vars(module))
    assert any(isinstance(value, stoker.Function) for value in vars(module).values())


@pytest.mark.parametrize("name", NAMED)
def test_an_error_that_the_page_names_exists(name: str) -> None:
    assert hasattr(stoker.errors, name)
