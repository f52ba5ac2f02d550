"""What is fine is not refused: pre-flight must not stand in the way."""

from __future__ import annotations

import json
import logging
import re

import pytest

import stoker
from stoker.options import Batch, EnvironmentSpec, FunctionOptions
from stoker.platform_facts import UNKNOWN
from stoker.preflight import check_manifest, check_source, check_target
from stoker.spec import options_from_json

PLAIN = FunctionOptions(name="f")
BATCHED = FunctionOptions(name="f", batch=Batch())

SOURCES = {
    "plain": "def f(x): return x * 2",
    "async": "async def f(x): return x",
    "generator": "def f(n):\n    yield from range(n)",
    "lambda": "f = lambda x: x",
    "decorated": "import stoker\n@stoker.function(name='other', timeout_s=3)\ndef f(x): return x",
    "alias": "def g(x): return x\nf = g",
    "in-try": "try:\n    import not_there_at_all\nexcept ImportError:\n    not_there_at_all = None\ndef f(x): return x",
    "in-if": "import sys\nif sys.version_info > (3,):\n    def f(x): return x\nelse:\n    def f(x): return -x",
    "main-block-too": "def f(x): return x\nif __name__ == '__main__':\n    print(f(1))",
    "partial": "from functools import partial\nf = partial(max, 3)",
    "imported": "from math import sqrt as f",
    "dynamic": "globals()['f'] = len",
    "pad-token": "PAD_TOKEN = '[PAD]'\nEOS_TOKEN='</s>'\ndef f(x): return PAD_TOKEN",
    "placeholder": "password = '<your password>'\ndef f(x): return x",
    "reads-env": "import os\ndef f(x):\n    return os.environ['API_KEY']",
    "class": "class f:\n    def setup(self): ...\n    def __call__(self, x): return x",
    "unknown-base": "from json import JSONEncoder\nclass f(JSONEncoder):\n    pass",
    "type-checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nowhere\ndef f(x): return x",
    "future": "from __future__ import annotations\ndef f(x: int) -> int: return x",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_sound_source_has_no_errors(source: str) -> None:
    assert [finding for finding in check_source(source, "f", PLAIN) if finding.is_error] == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(items): return items",
        "async def f(a, b): return a",
        "def f(items: list[str]) -> list[int]: return [1 for _ in items]",
        "def f(x, *rest): return x",
    ],
)
def test_sound_batched_source_has_no_findings(source: str) -> None:
    assert check_source(source, "f", BATCHED) == []


def test_warmup_that_fits_is_fine() -> None:
    source = "def f(a, b=2): return a"
    for warmup in ({"a": 1}, {"a": 1, "b": 3}, "text"):
        assert check_source(source, "f", options_from_json("f", {"warmup": warmup})) == []


def test_a_misspelt_handler_gets_a_suggestion() -> None:
    [finding] = check_source("def embed(x): return x", "embde", PLAIN)
    assert finding.fix == "Did you mean 'embed'?"


def test_a_package_of_another_name_is_known() -> None:
    options = FunctionOptions(name="f", environment=EnvironmentSpec(python_packages=("scikit-learn", "Pillow>=9")))
    source = "import sklearn\nfrom PIL import Image\ndef f(x): return x"
    assert check_source(source, "f", options, UNKNOWN) == []


def test_an_unknown_dependency_tree_only_warns() -> None:
    options = FunctionOptions(name="f", environment=EnvironmentSpec(python_packages=("some-package-not-here",)))
    [finding] = check_source("import another_one\ndef f(x): return x", "f", options)
    assert not finding.is_error


def test_sound_targets_have_no_findings() -> None:
    log = logging.getLogger("x")
    pattern = re.compile("a")

    def f(x: str) -> object:
        log.info(pattern.sub("b", x))
        return json.dumps(x)

    assert check_target(f, PLAIN) == []


def test_a_function_is_checked_by_its_target() -> None:
    @stoker.function
    def f(x: int) -> int:
        return x

    assert check_target(f, f.options) == []


def test_a_bundle_of_this_interpreter_fits_it() -> None:
    from stoker.bundle import build_bundle, read_manifest

    def f(x: int) -> int:
        import numpy

        return int(numpy.sum(x))

    assert check_manifest(read_manifest(build_bundle(f)), PLAIN) == []
