"""What a function refers to: modules it imports, values it captures. The basis of manifest, preload and pre-flight.

The rule that must not break: the walk only looks; it calls nothing of the user's and imports nothing.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import get_args

from stoker.hints import hinted_types
from stoker.local_modules import is_local, is_third_party
from stoker.shapes import unwrap

_WRAPPERS = (staticmethod, classmethod)
_LONG_TEXT_CHARS = 16


@dataclass(slots=True)
class Captures:
    """Everything that a target refers to, however far down in local code."""

    modules: set[str] = field(default_factory=set)
    """Dotted names of installed modules."""
    missing_candidates: set[str] = field(default_factory=set)
    """Modules imported inside function bodies: not imported yet, so perhaps absent."""
    values: dict[str, object] = field(default_factory=dict)
    """Captured plain values by a name that a reader recognises."""
    constants: set[tuple[str, str]] = field(default_factory=set)
    """(function, text): longer texts written in the code itself."""
    local_imports: set[str] = field(default_factory=set)
    """Local modules that are imported inside function bodies, where the worker will look for them in vain."""
    relative_imports: set[str] = field(default_factory=set)
    """Functions that import relative to their package."""


def captures_of(target: object) -> Captures:
    """Walk from ``target`` through local functions, classes, closures and defaults."""
    found = Captures()
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("", target)]
    for hint in hinted_types(unwrap(target)):
        waiting += [("", item) for item in (hint, *get_args(hint)) if isinstance(item, type)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen and not isinstance(value, (str, bytes, int)):
            continue
        seen.add(id(value))
        waiting.extend(_look_at(name, value, found))
    return found


def imported_names(code: CodeType) -> set[tuple[int, str]]:
    """(level, module) of each import in a code object or in functions inside of it; level > 0 is relative."""
    names = set()
    level = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD") and isinstance(instruction.argval, int):
            level = instruction.argval  # pushed just before the names of an import
        elif instruction.opname == "IMPORT_NAME":
            names.add((level, str(instruction.argval)))
    for inner in _inner(code):
        names |= imported_names(inner)
    return names


def _look_at(name: str, value: object, found: Captures) -> Iterator[tuple[str, object]]:
    value = getattr(value, "__stoker_target__", value) if hasattr(type(value), "__stoker_target__") else value
    if isinstance(value, _WRAPPERS):
        value = value.__func__
    if isinstance(value, MethodType):
        yield f"{name}.__self__", value.__self__
        value = value.__func__
    if isinstance(value, ModuleType):
        yield from _module(value, found)
    elif isinstance(value, FunctionType):
        yield from _function(value, found)
    elif isinstance(value, type):
        yield from _class(value, found)
    elif isinstance(value, property):
        yield from ((name, part) for part in (value.fget, value.fset) if part is not None)
    elif isinstance(value, BuiltinFunctionType):
        _note_module(getattr(value, "__module__", None), found)
    elif value is not None and name:
        _note_module(type(value).__module__, found)
        found.values[name] = value
        if is_local(type(value).__module__):
            yield "", type(value)


def _module(module: ModuleType, found: Captures) -> Iterator[tuple[str, object]]:
    if not is_local(module.__name__) or module.__name__ == "__main__":
        _note_module(module.__name__, found)
        return
    for name, value in list(vars(module).items()):
        if not name.startswith("__"):
            yield f"{module.__name__}.{name}", value


def _function(function: FunctionType, found: Captures) -> Iterator[tuple[str, object]]:
    if function.__module__ is not None and not is_local(function.__module__):
        _note_module(function.__module__, found)
        return
    _imports(function, found)
    found.constants |= {(function.__name__, text) for text in _texts(function.__code__)}
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # an empty cell: assigned later, or never
    for index, default in enumerate(function.__defaults__ or ()):
        yield f"{function.__name__}(default {index})", default
    yield from ((f"{function.__name__}({name})", item) for name, item in (function.__kwdefaults__ or {}).items())


def _class(cls: type, found: Captures) -> Iterator[tuple[str, object]]:
    if not is_local(cls.__module__):
        _note_module(cls.__module__, found)
        return
    yield from (("", base) for base in cls.__bases__ if base is not object)
    for name, value in list(vars(cls).items()):
        if name.startswith("__") and not callable(value):
            continue
        yield f"{cls.__name__}.{name}", value


def _imports(function: FunctionType, found: Captures) -> None:
    for level, name in imported_names(function.__code__):
        if level:
            found.relative_imports.add(function.__qualname__)
        elif is_local(name):
            found.local_imports.add(name)
        elif is_third_party(name):
            found.missing_candidates.add(name)


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in _inner(code):
        yield from _global_names(inner)


def _texts(code: CodeType) -> Iterator[str]:
    yield from (item for item in code.co_consts if isinstance(item, str) and len(item) >= _LONG_TEXT_CHARS)
    for inner in _inner(code):
        yield from _texts(inner)


def _inner(code: CodeType) -> Iterator[CodeType]:
    return (item for item in code.co_consts if isinstance(item, CodeType))


def _note_module(name: str | None, found: Captures) -> None:
    if name and is_third_party(name):
        found.modules.add(name)
