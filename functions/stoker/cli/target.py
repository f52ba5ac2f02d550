"""From ``app.py::Embed`` to the function that it names.

The rule that must not break: a file is imported once, as the module that it would be for Python, so that its relative
imports and its tracebacks work.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from stoker.decorators import function as as_function
from stoker.errors import InvalidInput
from stoker.function import Function


class TargetNotFound(InvalidInput):
    """The command line names a file, module or function that is not there."""

    code = "target_not_found"
    phase = "load"


@dataclass(frozen=True, slots=True)
class Target:
    """A file or module, the name of a function in it, and of a method of that."""

    place: str
    name: str | None = None
    method: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``PLACE[::NAME[.METHOD]]``; a single colon will do."""
        place, separator, rest = text.partition("::")
        if not separator and ":" in text:
            place, separator, rest = text.rpartition(":")
        if not place or (separator and not rest):
            raise TargetNotFound(f"a target looks like app.py, app.py::Embed or package.module::name, got {text!r}")
        name, _, method = rest.partition(".")
        return cls(place, name or None, method or None)


def load_functions(target: Target) -> list[Function]:
    """The functions that a target names: the one, or all that its module defines."""
    module = load_module(target.place)
    if target.name is not None:
        return [_named(module, target)]
    found = _defined_in(module)
    if not found:
        raise TargetNotFound(
            f"{target.place} defines no function",
            hint="Put @stoker.function above one, or name a plain one: app.py::name.",
        )
    return list(found.values())


def load_module(place: str) -> ModuleType:
    """Import a file or a module; what its code raises passes through."""
    path = Path(place)
    if path.suffix != ".py" and not path.exists():
        return _import(place, Path.cwd())
    if not path.is_file():
        raise TargetNotFound(f"there is no file {place}")
    path = path.resolve()
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    if root != path.parent:
        return _import(".".join(path.relative_to(root).with_suffix("").parts), root)
    return _import_file(path)


def _import(name: str, folder: Path) -> ModuleType:
    _put_on_path(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise TargetNotFound(f"there is no module {name!r} here", hint="A file ends in .py.") from error


def _import_file(path: Path) -> ModuleType:
    _put_on_path(path.parent)
    name = path.stem
    present = sys.modules.get(name)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    if present is not None or name in sys.stdlib_module_names:
        name = f"{name}_file"  # a file named like a module that is in use must not take its place
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetNotFound(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _named(module: ModuleType, target: Target) -> Function:
    assert target.name is not None
    found = getattr(module, target.name, None)
    defined = _defined_in(module)
    by_option = {function.options.name: function for function in defined.values()}
    found = by_option.get(target.name) if found is None else found
    if isinstance(found, Function):
        return found
    if callable(found):
        return as_function(found)
    known = [*defined, *(name for name in by_option if name not in defined)]
    close = get_close_matches(target.name, known, n=1)
    hint = f"Did you mean {target.place}::{close[0]}?" if close else f"It has: {', '.join(known) or 'no function'}."
    what = "no function" if found is None else "something that cannot be called"
    raise TargetNotFound(f"{target.name} is {what} in {target.place}", hint=hint)


def _defined_in(module: ModuleType) -> dict[str, Function]:
    """Functions of a module by variable, each once, without those that it imported."""
    seen: set[int] = set()
    found: dict[str, Function] = {}
    for name, value in vars(module).items():
        if isinstance(value, Function) and value._target is not None and id(value) not in seen:
            home = sys.modules.get(getattr(value, "__module__", module.__name__))
            if home is module or home is None or getattr(home, name, None) is not value:
                seen.add(id(value))
                found[name] = value
    return found
