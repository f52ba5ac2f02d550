"""Bundles: made the same every time, read within bounds, refused when tampered with."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import traceback
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stoker
from stoker.archive import open_archive, pack_archive
from stoker.bundle import (
    build_bundle,
    build_source_bundle,
    extract_files,
    load_target,
    read_manifest,
    read_source,
)
from stoker.errors import BundleTampered, Forbidden, InvalidInput, PlatformError, PreflightFailed
from stoker.signing import bundle_sha256, deployer_key, new_private_key, public_key_of, sign, verify

FACTOR = 3


@stoker.function(name="triple")
def triple(x: int) -> int:
    return FACTOR * x


@stoker.function
class Holder:
    @stoker.method
    def get(self, x: int) -> int:
        return triple.local(x)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def test_a_bundle_brings_its_target_back() -> None:
    target = load_target(build_bundle(triple), "triple")
    assert target(2) == 6  # type: ignore[operator]


def test_local_code_travels_by_value(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(build_bundle(Holder))
    code = (
        "import sys, pathlib; from stoker.bundle import load_target;"
        "cls = load_target(pathlib.Path(sys.argv[1]).read_bytes(), 'Holder'); print(cls().get(2));"
        "print('tests' in sys.modules)"
    )
    command = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code, str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["6", "False"]


def test_equal_code_gives_equal_bytes_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import stoker, pydantic\nclass Base:\n    k = {'a': 1}\n    s = {'x', 'y', 'z'}\n"
        "class Model_(pydantic.BaseModel):\n    x: int\n    y: int = 2\n    z: list[str] = []\n"
        "@stoker.function(name='m')\nclass Model(Base):\n"
        "    def __call__(self, x: Model_):\n        return self.k, x in {'p', 'q', 'r'}\n"
    )
    code = "from app import Model; from stoker.bundle import *; print(bundle_sha256(build_bundle(Model)))"
    hashes = set()
    for seed in ("1", "2", "3", "4"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
        )
        hashes.add(done.stdout)
    assert len(hashes) == 1


def test_two_versions_of_a_class_do_not_mix_in_one_process() -> None:
    def version(number: int) -> type:
        return type("Model", (), {"__call__": eval(f"lambda self: {number}"), "__module__": "__main__"})

    first, second = (load_target(build_bundle(version(n)), "Model") for n in (1, 2))
    assert (first()(), second()()) == (1, 2)  # type: ignore[operator]


def test_the_manifest_says_what_is_needed() -> None:
    import numpy

    table = numpy.zeros(1000)

    def f(x: int) -> object:
        return table[x]

    manifest = read_manifest(build_bundle(f))
    assert manifest.modules == ("numpy",)
    assert dict(manifest.packages) == {"numpy": numpy.__version__}
    assert [(item.name, item.type, item.size_bytes) for item in manifest.captured] == [("table", "numpy.ndarray", 8000)]
    assert manifest.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert manifest.handler_kind == "function"


def test_what_cannot_be_pickled_is_told_with_a_fix() -> None:
    class Stubborn:
        def __reduce__(self) -> str:
            raise RuntimeError("no")

    value = Stubborn()
    with pytest.raises(PreflightFailed, match="cannot be pickled: no") as caught:
        build_bundle(lambda: value)
    assert caught.value.findings[0][0] == "unpicklable"


def test_source_runs_and_shows_its_lines() -> None:
    data = build_source_bundle("import stoker\n\n@stoker.function(name='f')\ndef f(x):\n    return 1 / x\n")
    target = load_target(data, "f")
    assert target(2) == 0.5  # type: ignore[operator]
    with pytest.raises(ZeroDivisionError) as caught:
        target(0)  # type: ignore[operator]
    assert "return 1 / x" in "".join(traceback.format_exception(caught.value))
    assert target.__module__ in sys.modules
    del sys.modules[target.__module__]


def test_source_without_the_handler_says_what_it_has() -> None:
    with pytest.raises(PreflightFailed, match="It defines: g"):
        load_target(build_source_bundle("def g(): ..."), "f")
    with pytest.raises(SyntaxError):
        load_target(build_source_bundle("def g(:"), "g")


def test_a_source_bundle_gives_its_source() -> None:
    assert read_source(build_source_bundle("x = 1")) == "x = 1"
    assert read_source(build_bundle(triple)) is None


def test_files_travel_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "words.txt").write_text("hello")
    (tmp_path / "elsewhere.bin").write_bytes(b"1")
    data = build_bundle(triple, files=["data", tmp_path / "elsewhere.bin"])
    extract_files(data, tmp_path / "out")
    assert (tmp_path / "out" / "data" / "deep" / "words.txt").read_text() == "hello"
    assert (tmp_path / "out" / "elsewhere.bin").read_bytes() == b"1"
    with pytest.raises(InvalidInput, match="does not exist"):
        build_bundle(triple, files=["nowhere"])


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "C:/x"])
def test_a_path_outside_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="outside of itself"):
        read_manifest(zipped(**{name: b""}))


def test_a_symbolic_link_is_refused() -> None:
    out = io.BytesIO()
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(InvalidInput, match="symbolic link"):
        read_manifest(out.getvalue())


def test_a_bomb_is_refused_unopened() -> None:
    with pytest.raises(InvalidInput, match="shrinks"):
        read_manifest(zipped(bomb=bytes(3 * 1024 * 1024)))


def test_what_compresses_very_well_is_still_our_own_bundle() -> None:
    with open_archive(pack_archive({"zeros": bytes(4 * 1024 * 1024)})) as archive:
        assert len(archive.read("zeros")) == 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "no manifest.json"),
        ({"manifest.json": b"{"}, "no JSON"),
        ({"manifest.json": b"[]"}, "must be an object"),
        ({"manifest.json": b'{"format_version": 9}'}, "format_version"),
        ({"manifest.json": b'{"format_version": 1, "kind": "exe"}'}, "kind"),
        ({"manifest.json": b'{"format_version": 1, "kind": "pickle"}'}, "must hold payload.pkl"),
        ({"manifest.json": b'{"format_version": 1, "kind": "source", "python": 3}', "source.py": b""}, "python"),
        ({"manifest.json": b'{"format_version":1,"kind":"source","modules":"x"}', "source.py": b""}, "modules"),
    ],
)
def test_an_unsound_bundle_is_refused(members: dict[str, bytes], text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        read_manifest(zipped(**members))


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_manifest(data)


@given(st.data())
def test_flipped_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    bundle = bytearray(build_source_bundle("def f(x): return x"))
    at = data.draw(st.integers(0, len(bundle) - 1))
    bundle[at] ^= data.draw(st.integers(1, 255))
    try:
        read_manifest(bytes(bundle))
    except PlatformError:
        pass


def test_reading_a_manifest_unpickles_nothing() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1/0",)

    manifest = read_manifest(build_bundle(triple)).encode()
    assert read_manifest(zipped(**{"manifest.json": manifest, "payload.pkl": pickle.dumps(Evil())})).kind == "pickle"


def test_a_manifest_survives_json() -> None:
    manifest = read_manifest(build_bundle(triple))
    assert type(manifest).from_json(json.loads(manifest.encode())) == manifest


def test_a_signature_fits_its_bundle_only() -> None:
    key, other = new_private_key(), new_private_key()
    data = build_source_bundle("x = 1")
    signature = sign(data, key)
    verify(data, signature, public_key_of(key), bundle_sha256(data))
    for wrong in (
        (data + b"x", signature, public_key_of(key), bundle_sha256(data)),
        (data + b"x", signature, public_key_of(key), bundle_sha256(data + b"x")),
        (data, signature, public_key_of(other), bundle_sha256(data)),
        (data, b"", public_key_of(key), bundle_sha256(data)),
        (data, signature, b"", bundle_sha256(data)),
        (data, signature, public_key_of(key), "0" * 64),
    ):
        with pytest.raises(BundleTampered):
            verify(*wrong)


def test_the_deployer_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    key = deployer_key(tmp_path / "new")
    assert deployer_key(tmp_path / "new") == key
    path = tmp_path / "new" / "deploy.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    path.chmod(0o644)
    with pytest.raises(Forbidden, match="owner alone"):
        deployer_key(tmp_path / "new")


def test_a_shared_set_stays_shared() -> None:
    seen = {"b", "a"}
    pair = [seen, seen, frozenset({1, "x"})]
    again = load_target(build_bundle(lambda: pair), "")()  # type: ignore[operator]
    assert again == pair
    assert again[0] is again[1]
