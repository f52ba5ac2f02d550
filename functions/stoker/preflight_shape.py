"""Pre-flight: everything that can be said from a handler's shape and its options.

The rule that must not break: one set of rules for live objects and for source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stoker.finding import Finding
from stoker.options import FunctionOptions
from stoker.preflight_batch import check_batch
from stoker.preflight_class import check_class
from stoker.shapes import CallableShape, ClassShape, Shape


def check_shape(shape: Shape, options: FunctionOptions) -> Iterator[Finding]:
    """Findings for a handler."""
    default: CallableShape | None
    if isinstance(shape, ClassShape):
        yield from check_class(shape)
        entries, default = shape.entries, shape.default
    else:
        entries, default = (shape,), shape
    if options.batch is not None:
        for entry in entries:
            yield from check_batch(entry)
    if options.warmup is not None and default is not None:
        yield from _check_warmup(default, options.warmup)


def _check_warmup(entry: CallableShape, warmup: object) -> Iterator[Finding]:
    names = [parameter.name for parameter in entry.parameters if not parameter.is_variadic]
    takes_any = any(parameter.is_variadic for parameter in entry.parameters)
    if not names and not takes_any:
        problem = "" if warmup == {} else "takes no parameter"
    elif isinstance(warmup, Mapping) and len(entry.required) != 1:
        missing = [name for name in entry.required if name not in warmup]
        unknown = [] if takes_any else [key for key in warmup if key not in names]
        problem = _sentence(missing, unknown)
    elif not isinstance(warmup, Mapping) and len(entry.required) > 1:
        problem = f"needs {', '.join(entry.required)}, and warmup is one value"
    else:
        problem = ""
    if problem:
        yield Finding(
            "warmup_arguments",
            f"warmup does not fit {entry.name}: it {problem}",
            "warmup is what a call's JSON body would be: an object of the parameters, or the only argument.",
        )


def _sentence(missing: list[str], unknown: list[object]) -> str:
    parts = [f"needs {', '.join(missing)}"] if missing else []
    parts += [f"has no parameter {', '.join(map(str, unknown))}"] if unknown else []
    return " and ".join(parts)
