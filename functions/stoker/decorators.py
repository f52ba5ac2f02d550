"""``@stoker.function``, ``@stoker.method``, ``@stoker.enter``, ``@stoker.exit``.

The rule that must not break: a wrong option fails where it is written, by name and value; nothing is connected to,
imported or pickled at decoration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, overload

from stoker.environment import Environment
from stoker.errors import InvalidOption
from stoker.function import Function
from stoker.known_options import check_known
from stoker.options import Batch, EnvironmentSpec, FunctionOptions, Retries, Scaling, gpu_requests, string_pairs
from stoker.schedule import Schedule
from stoker.shapes import DEFAULT, HOOK

_Hook = TypeVar("_Hook", bound=Callable[..., object])
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KNOWN: Final = tuple(FunctionOptions.__dataclass_fields__)


@overload
def function(target: Callable[..., object], /) -> Function: ...
@overload
def function(
    *,
    name: str | None = None,
    namespace: str = "default",
    environment: Environment | EnvironmentSpec | None = None,
    gpu: str | Sequence[str] | None = None,
    cpu: float = 1.0,
    memory_mib: int | None = None,
    batch: Batch | None = None,
    scaling: Scaling | None = None,
    concurrency: int = 1,
    timeout_s: float = 300.0,
    startup_timeout_s: float = 300.0,
    retries: Retries | None = None,
    max_queue_depth: int = 1024,
    secrets: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    warmup: object | None = None,
    idempotent: bool = False,
    max_concurrent_jobs: int | None = None,
    coalesce: bool = False,
    schedule: Schedule | None = None,
) -> Callable[[Callable[..., object]], Function]: ...


def function(target: object = None, /, **options: Any) -> Function | Callable[[Callable[..., object]], Function]:
    """Make a function of a plain, async or generator function, or of a class. With or without parentheses."""
    if target is not None:
        if not callable(target) or isinstance(target, Function):
            raise InvalidOption(
                f"@stoker.function takes its options by keyword, got {target!r}",
                hint="Write @stoker.function(name=..., batch=...), above one function or class.",
            )
        return Function(target, make_options(default_name(target), {}))
    check_known("@stoker.function", options, _KNOWN)
    if options.get("name") is not None:
        make_options(options["name"], options)  # fail on this line, not on the function's

    def decorate(target: Callable[..., object]) -> Function:
        if not callable(target) or isinstance(target, Function):
            raise InvalidOption(f"@stoker.function stands above a function or a class, got {target!r}")
        name = options.get("name")
        return Function(target, make_options(default_name(target) if name is None else name, options))

    return decorate


@overload
def method(target: _Hook, /) -> _Hook: ...
@overload
def method(*, default: bool = False) -> Callable[[_Hook], _Hook]: ...


def method(target: _Hook | None = None, /, *, default: bool = False) -> _Hook | Callable[[_Hook], _Hook]:
    """Mark a method that callers can name. ``default``: it also runs when a call names none."""

    def mark(method: _Hook) -> _Hook:
        _mark(method, "method")
        if default:
            setattr(_plain(method), DEFAULT, True)
        return method

    return mark if target is None else mark(target)


@overload
def enter(target: _Hook, /) -> _Hook: ...
@overload
def enter() -> Callable[[_Hook], _Hook]: ...


def enter(target: _Hook | None = None, /) -> _Hook | Callable[[_Hook], _Hook]:
    """Mark a method that runs once, before a replica's first call: load weights here."""
    return (lambda method: _mark(method, "enter")) if target is None else _mark(target, "enter")


@overload
def exit(target: _Hook, /) -> _Hook: ...
@overload
def exit() -> Callable[[_Hook], _Hook]: ...


def exit(target: _Hook | None = None, /) -> _Hook | Callable[[_Hook], _Hook]:
    """Mark a method that runs once, when a replica stops."""
    return (lambda method: _mark(method, "exit")) if target is None else _mark(target, "exit")


@overload
def sleep(target: _Hook, /) -> _Hook: ...
@overload
def sleep() -> Callable[[_Hook], _Hook]: ...


def sleep(target: _Hook | None = None, /) -> _Hook | Callable[[_Hook], _Hook]:
    """Mark a method that moves weights from the device to host memory, when a replica is parked."""
    return (lambda method: _mark(method, "sleep")) if target is None else _mark(target, "sleep")


@overload
def wake(target: _Hook, /) -> _Hook: ...
@overload
def wake() -> Callable[[_Hook], _Hook]: ...


def wake(target: _Hook | None = None, /) -> _Hook | Callable[[_Hook], _Hook]:
    """Mark a method that moves them back, before the next call of a parked replica."""
    return (lambda method: _mark(method, "wake")) if target is None else _mark(target, "wake")


def default_name(target: object) -> str:
    """``embed`` for ``def embed`` and ``image-model`` for ``class ImageModel``."""
    own = getattr(target, "__name__", type(target).__name__)
    name = _CAMEL.sub("-", own).lower().strip("_")
    if own == "<lambda>" or not name:
        raise InvalidOption(f"name must be given for {own}", hint='Write stoker.function(name="double")(lambda ...).')
    return name


def make_options(name: str, given: Mapping[str, Any]) -> FunctionOptions:
    """The options of the decorator's keywords; raises ``InvalidOption``."""
    values = {key: value for key, value in given.items() if value is not None}
    values["name"] = name
    values["environment"] = _environment(values.get("environment"))
    values["gpu"] = gpu_requests(values.get("gpu"))
    values["env"] = string_pairs("env", _mapping("env", values.get("env", {})))
    values["labels"] = string_pairs("labels", _mapping("labels", values.get("labels", {})))
    values["secrets"] = _secret_names(values.get("secrets", ()))
    values["warmup"] = _json_value(values.get("warmup"))
    _check_types(values)
    return FunctionOptions(**values)


_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "batch": (Batch, "stoker.Batch(max_batch_size=8)"),
    "scaling": (Scaling, "stoker.Scaling(max_replicas=2)"),
    "retries": (Retries, "stoker.Retries(max_attempts=3)"),
    "idempotent": (bool, "True or False"),
    "coalesce": (bool, "True or False"),
}


def _check_types(values: Mapping[str, object]) -> None:
    for option, (wanted, example) in _TYPES.items():
        if option in values and not isinstance(values[option], wanted):
            raise InvalidOption(f"{option} must be {example}, got {values[option]!r}")


def _environment(value: object) -> EnvironmentSpec:
    if isinstance(value, Environment):
        return value.spec
    if isinstance(value, EnvironmentSpec):
        return value
    if value is None:
        return EnvironmentSpec()
    raise InvalidOption(
        f"environment must be a stoker.Environment, got {value!r}",
        hint='Write environment=stoker.Environment(python_packages=["numpy"]).',
    )


def _json_value(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(
            f"warmup must be a JSON value, got {type(value).__name__}: {error}",
            hint="It is what a call's JSON body would be, e.g. {'text': 'hello'}.",
        ) from error
    return value


def _secret_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise InvalidOption(
            "secrets must be a list of secret names",
            hint='Write secrets=["HF_TOKEN"]; stoker secret set stores values.',
        )
    return tuple(value)


def _mapping(option: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidOption(f"{option} must map strings to strings, got {value!r}")
    return value


def _mark(method: _Hook, hook: Literal["method", "enter", "exit", "sleep", "wake"]) -> _Hook:
    if not callable(method) and not isinstance(method, (staticmethod, classmethod)):
        raise InvalidOption(f"@stoker.{hook} stands above a method, got {method!r}")
    if isinstance(method, type):
        raise InvalidOption(
            f"@stoker.{hook} stands above a method, got class {method.__name__}",
            hint="Use @stoker.function on a class.",
        )
    setattr(_plain(method), HOOK, hook)
    setattr(method, HOOK, hook)
    return method


def _plain(method: object) -> object:
    return method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
