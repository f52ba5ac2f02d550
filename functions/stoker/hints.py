"""Type hints that survive the journey: written as text, they name globals that the pickle would leave behind.

The rule that must not break: the user's objects are as they were when the block ends.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType

from stoker.local_modules import is_local

Holder = typing.Union[FunctionType, type]  # noqa: UP007  # evaluated at run time


def hinted_types(target: object) -> list[object]:
    """Every class and type that the hints of a target's functions name."""
    return [hint for holder in _holders(target) for hint in _own_hints(holder).values() if not isinstance(hint, str)]


@contextmanager
def resolved_hints(target: object) -> Iterator[None]:
    """Within the block, hints are objects instead of text, in the target and in the local classes that they name."""
    undo: list[tuple[typing.Any, str, object]] = []
    try:
        for holder in list(_holders(target)):
            hints = _own_hints(holder)
            undo.append((holder, "__annotations__", dict(holder.__annotations__)))
            holder.__annotations__ = hints
            # not dataclasses.fields(): class and init-only variables have hints too
            for field in getattr(holder, "__dataclass_fields__", {}).values():
                if field.name in hints and isinstance(field.type, str):
                    undo.append((field, "type", field.type))
                    field.type = typing.cast(type, hints[field.name])
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _holders(target: object) -> Iterator[Holder]:
    """Functions of the target, and local classes in their hints, that have hints of their own."""
    waiting: list[object] = [target]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (staticmethod, classmethod)):
            item = item.__func__
        if isinstance(item, type) and is_local(item.__module__):
            waiting += [base for base in item.__bases__ if base is not object]
            is_target = item is target
            waiting += [member for member in vars(item).values() if is_target or isinstance(member, type)]
            if vars(item).get("__annotations__") and not hasattr(item, "model_fields"):  # pydantic keeps its own
                yield item
                waiting += _own_hints(item).values()
        elif isinstance(item, FunctionType) and item.__annotations__:
            yield item
            waiting += _own_hints(item).values()
        else:
            waiting += typing.get_args(item)


def _own_hints(holder: Holder) -> dict[str, object]:
    own = dict(holder.__annotations__)
    try:
        resolved = typing.get_type_hints(holder, include_extras=True)
    except Exception:  # a name that exists for type checkers only: keep what can be had
        resolved = {name: _evaluated(hint, holder) for name, hint in own.items()}
    return {name: resolved.get(name, hint) for name, hint in own.items()}


def _evaluated(hint: object, holder: Holder) -> object:
    if not isinstance(hint, str):
        return hint
    module = sys.modules.get(holder.__module__)
    names = holder.__globals__ if isinstance(holder, FunctionType) else vars(module) if module else {}
    try:
        return eval(hint, names, {})  # the user's own annotation, in the user's own process
    except Exception:
        return hint
