"""A bundle: the ZIP in which a function travels, holding a manifest, a pickle or source, and files.

The rule that must not break: everything but ``load_target`` treats the bundle as data. Only a worker calls
``load_target``, and only after ``signing.verify``.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform as host
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import ModuleType

from stoker.archive import open_archive, pack_archive
from stoker.captures import Captures, captures_of
from stoker.environment import worth_preloading
from stoker.errors import InvalidInput, PreflightFailed
from stoker.local_modules import is_third_party, top_level
from stoker.manifest import CapturedGlobal, Manifest
from stoker.pickling import approximate_size, dumps_by_value
from stoker.shapes import kind_of, unwrap
from stoker.signing import bundle_sha256, sign, verify
from stoker.source import imports_of
from stoker.source_module import run_source
from stoker.stable_pickle import loads

__all__ = [
    "build_bundle",
    "build_source_bundle",
    "bundle_sha256",
    "extract_files",
    "load_target",
    "read_manifest",
    "sign",
    "verify",
]

MANIFEST = "manifest.json"
PAYLOAD = "payload.pkl"
SOURCE = "source.py"
FILES = "files/"
NATIVE_SUFFIXES = (".so", ".pyd", ".dylib", ".dll")


def build_bundle(target: object, *, files: Iterable[str | Path] = ()) -> bytes:
    """A bundle of a live object, with the local modules it needs by value."""
    target = unwrap(target)
    found = captures_of(target)
    members = _file_members(files)
    manifest = _manifest(
        "pickle",
        modules={top_level(name) for name in found.modules | found.missing_candidates},
        preload=worth_preloading(found.modules | found.missing_candidates),
        handler=getattr(target, "__name__", type(target).__name__),
        handler_kind=kind_of(target),
        captured=_captured(found),
        native_files=_native(members),
    )
    return pack_archive({MANIFEST: manifest.encode(), PAYLOAD: dumps_by_value(target), **members})


def build_source_bundle(source: str, *, files: Iterable[str | Path] = ()) -> bytes:
    """A bundle of Python source; which object in it is meant is said at registration."""
    members = _file_members(files)
    imports = {name for name in imports_of(source) if is_third_party(name)}
    modules, preload = {top_level(name) for name in imports}, worth_preloading(imports)
    manifest = _manifest("source", modules=modules, preload=preload, native_files=_native(members))
    return pack_archive({MANIFEST: manifest.encode(), SOURCE: source.encode(), **members})


def read_manifest(data: bytes) -> Manifest:
    """The manifest of a bundle from anywhere; raises ``InvalidInput`` for what is no sound bundle."""
    with open_archive(data) as archive:
        try:
            document = json.loads(archive.read(MANIFEST))
        except KeyError:
            raise InvalidInput(f"the bundle has no {MANIFEST}") from None
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"the bundle's {MANIFEST} is no JSON: {error}") from error
        manifest = Manifest.from_json(document)
        wanted = PAYLOAD if manifest.kind == "pickle" else SOURCE
        if wanted not in archive.names:
            raise InvalidInput(f"a {manifest.kind} bundle must hold {wanted}, got {', '.join(archive.names)}")
        return manifest


def read_source(data: bytes) -> str | None:
    """The source of a source bundle; None for a pickled one."""
    with open_archive(data) as archive:
        if SOURCE not in archive.names:
            return None
        try:
            return archive.read(SOURCE).decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the bundle's {SOURCE} is no UTF-8 text: {error}") from error


def load_target(data: bytes, handler: str) -> object:
    """The object that ``handler`` names. RUNS user code: for a worker, after ``verify``."""
    manifest = read_manifest(data)
    with open_archive(data) as archive:
        if manifest.kind == "pickle":
            return unwrap(loads(archive.read(PAYLOAD)))
        module = run_source(archive.read(SOURCE).decode(), bundle_sha256(data))
    return unwrap(_attribute(module, handler))


def extract_files(data: bytes, folder: Path) -> None:
    """Write the files that travel along into ``folder``."""
    with open_archive(data) as archive:
        for name in archive.names:
            if name.startswith(FILES) and not name.endswith("/"):
                path = folder / name.removeprefix(FILES)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))


def this_platform() -> str:
    """``system-machine`` of this interpreter."""
    return f"{host.system()}-{host.machine()}".lower()


def _attribute(module: ModuleType, handler: str) -> object:
    value: object = module
    for part in handler.split("."):
        if not hasattr(value, part):
            names = sorted(name for name, item in vars(module).items() if callable(item) and not name.startswith("_"))
            raise PreflightFailed(
                f"the source has no {handler!r}",
                findings=(("handler_missing", f"the source has no {handler!r}", f"It defines: {', '.join(names)}."),),
                hint=f"It defines: {', '.join(names) or 'nothing callable'}.",
            )
        value = getattr(value, part)
    return value


def _manifest(
    kind: str,
    *,
    modules: set[str],
    preload: tuple[str, ...],
    handler: str = "",
    handler_kind: str = "",
    captured: tuple[CapturedGlobal, ...] = (),
    native_files: tuple[str, ...] = (),
) -> Manifest:
    owners = importlib.metadata.packages_distributions() if modules else {}
    module_packages = {name: owners[name][0] for name in sorted(modules) if owners.get(name)}
    return Manifest(
        kind="pickle" if kind == "pickle" else "source",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        implementation=sys.implementation.name,
        cloudpickle=importlib.metadata.version("cloudpickle"),
        platform=this_platform(),
        handler=handler,
        handler_kind=handler_kind,
        modules=tuple(sorted(modules)),
        preload=preload,
        packages=tuple(sorted((name, importlib.metadata.version(name)) for name in set(module_packages.values()))),
        module_packages=tuple(module_packages.items()),
        captured=captured,
        native_files=native_files,
    )


def _captured(found: Captures) -> tuple[CapturedGlobal, ...]:
    return tuple(
        CapturedGlobal(name, f"{type(value).__module__}.{type(value).__qualname__}", approximate_size(value))
        for name, value in sorted(found.values.items())
    )


def _file_members(files: Iterable[str | Path]) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for given in files:
        path = Path(given)
        if not path.exists():
            raise InvalidInput(f"environment.files: {path} does not exist", hint="Paths are relative to where you are.")
        is_inside = not path.is_absolute() and ".." not in path.parts
        root = PurePosixPath(*path.parts) if is_inside else PurePosixPath(path.resolve().name)
        if path.is_file():
            members[f"{FILES}{root}"] = path.read_bytes()
            continue
        for file in sorted(item for item in path.rglob("*") if item.is_file() and "__pycache__" not in item.parts):
            members[f"{FILES}{root / file.relative_to(path).as_posix()}"] = file.read_bytes()
    return members


def _native(members: dict[str, bytes]) -> tuple[str, ...]:
    return tuple(name.removeprefix(FILES) for name in members if name.endswith(NATIVE_SUFFIXES))
