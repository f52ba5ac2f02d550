"""Pre-flight: would a batched function understand the lists that it gets?

The rule that must not break: only what cannot work is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stoker.finding import Finding
from stoker.shapes import CallableShape, Kind

_NO_LISTS: Final = frozenset({"int", "str", "float", "bool", "bytes", "None", "dict", "set"})


def check_batch(entry: CallableShape) -> Iterator[Finding]:
    """Findings for one entry of a function that has ``batch``."""
    name = entry.name
    if entry.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
        yield Finding(
            "batch_generator",
            f"{name} is a generator, but a batched function returns one list",
            "Return a list instead of yielding, or remove batch=.",
        )
    if not entry.parameters:
        yield Finding(
            "batch_no_parameters",
            f"{name} takes no parameter, so a batch has nowhere to go",
            f"Take the items: def {name}(items): return [...]",
        )
    elif all(parameter.is_variadic for parameter in entry.parameters):
        kinds = ", ".join(("**" if p.kind == 4 else "*") + p.name for p in entry.parameters)
        yield Finding(
            "batch_variadic",
            f"{name} takes only {kinds}, so its parameters cannot become lists",
            f"Name the parameters: def {name}(items): return [...]",
        )
    elif not any(parameter.is_positional for parameter in entry.parameters):
        yield Finding(
            "batch_keyword_only",
            f"{name} takes keyword-only parameters: an item that is no JSON object cannot reach it",
            "Remove the '*' from its parameters, or always send objects.",
            is_error=False,
        )
    if entry.returns.partition("[")[0].strip("'\"") in _NO_LISTS:
        yield Finding(
            "batch_return_type",
            f"{name} is annotated to return {entry.returns}, but a batched function returns a list",
            "Return a list with one result per item, and annotate it: -> list[...].",
        )
