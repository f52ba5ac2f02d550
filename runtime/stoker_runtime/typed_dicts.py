"""``typing.TypedDict`` as pydantic can read it: before Python 3.12 it only takes the one of ``typing_extensions``.

The rule that must not break: the replaced class has the same keys, types and required keys; all other hints come back
as they are.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
import typing
from typing import Annotated, Any, Union, get_args, get_origin


def readable_hint(hint: object) -> object:
    """The hint, with every ``typing.TypedDict`` inside replaced where this Python needs it."""
    if sys.version_info >= (3, 12):
        return hint
    return _replaced(hint, {})


def _replaced(hint: object, done: dict[object, object]) -> object:
    if typing.is_typeddict(hint):
        return _rebuilt(hint, done)
    arguments = get_args(hint)
    origin = get_origin(hint)
    if not arguments or origin is typing.Literal:
        return hint
    changed = tuple(_replaced(argument, done) for argument in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return hint
    if origin is Annotated:
        return Annotated[(changed[0], *arguments[1:])]
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, changed) if types.UnionType is origin else Union[changed]  # noqa: UP007
    return origin[changed]  # type: ignore[index]  # a generic alias has an origin that takes arguments


def _rebuilt(cls: Any, done: dict[object, object]) -> object:
    from typing_extensions import NotRequired, TypedDict, get_type_hints

    if cls in done:
        return done[cls]
    done[cls] = dict  # one that holds itself ends here
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        bare = get_args(hint)[0] if getattr(get_origin(hint), "__name__", "") in ("Required", "NotRequired") else hint
        field = _replaced(bare, done)
        fields[name] = field if name in cls.__required_keys__ else NotRequired[field]
    make: Any = TypedDict  # made at run time, which the checker does not know
    done[cls] = make(cls.__name__, fields)
    return done[cls]
