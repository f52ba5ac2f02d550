"""What a function is found to refer to, and what is worth preloading for it."""

from __future__ import annotations

import json

import numpy
import pydantic

import stoker
from stoker.bundle import build_bundle, build_source_bundle, read_manifest
from stoker.captures import captures_of
from stoker.local_modules import is_local, is_standard, is_third_party

SCALE = 2.5


class Input(pydantic.BaseModel):
    x: int


def helper(x: object) -> object:
    return json.dumps(numpy.sum(x) * SCALE)


class Base:
    limit = (1, 2)

    def shared(self) -> object:
        return helper(1)


class Derived(Base):
    def __call__(self, item: Input, also: object = ("a", 3)) -> object:
        import msgspec

        return msgspec, item, also


def test_modules_are_sorted_into_three_kinds() -> None:
    assert is_local(__name__)
    assert is_local("__main__")
    assert is_standard("json")
    assert is_standard("xml.etree")
    assert is_third_party("numpy.linalg")
    assert not is_third_party("stoker.client")
    assert not is_local("stoker")


def test_the_walk_goes_through_helpers_bases_and_defaults() -> None:
    found = captures_of(Derived)
    assert "numpy" in found.modules
    assert found.missing_candidates == {"msgspec"}
    assert found.values["SCALE"] == 2.5
    assert found.values["Base.limit"] == (1, 2)
    assert ("a", 3) in found.values.values()


def test_a_function_that_calls_another_is_walked_through() -> None:
    inner = stoker.function(name="inner")(helper)

    def outer(x: object) -> object:
        return inner.remote(x)

    assert "numpy" in captures_of(outer).modules


def test_a_recursive_function_ends() -> None:
    def again(x: int) -> int:
        return again(x - 1) if x else 0

    assert captures_of(again).modules == set()


def test_preload_is_inferred() -> None:
    assert read_manifest(build_bundle(Derived)).preload == ("msgspec", "numpy", "pydantic")
    source = "import os, torch.nn\nfrom PIL import Image\ndef f():\n    import numpy\n    from stoker import x\n"
    manifest = read_manifest(build_source_bundle(source))
    assert manifest.preload == ("PIL", "numpy", "torch.nn")
    assert manifest.modules == ("PIL", "numpy", "torch")
    assert read_manifest(build_source_bundle("def broken(:")).preload == ()
