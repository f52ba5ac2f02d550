"""Keywords that an option does not have: refused with the name that was probably meant.

The rule that must not break: what is refused is an ``InvalidOption``, whoever is asked (decorator, class, document).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TypeVar

from stoker.errors import InvalidOption

Class = TypeVar("Class", bound=type)


def check_known(place: str, keys: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``InvalidOption`` for the first key that is not known."""
    names = tuple(known)
    for key in keys:
        if key not in names:
            close = get_close_matches(key, names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
            raise InvalidOption(f"{place} has no option {key!r}", hint=hint)


def knows_its_options(cls: Class) -> Class:
    """Make the class refuse unknown keywords as options are refused, not with a ``TypeError``."""
    known = tuple(inspect.signature(cls).parameters)
    made: Callable[..., None] = cls.__init__  # type: ignore[misc]  # the class's own, called with what it takes

    @functools.wraps(made)
    def checked(self: object, *args: object, **options: object) -> None:
        check_known(f"stoker.{cls.__name__}", options, known)
        made(self, *args, **options)

    cls.__init__ = checked  # type: ignore[misc]
    return cls
