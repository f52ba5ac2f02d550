"""The shape of a handler: its kind, parameters and hooks, whether read from a live object or from source.

The rule that must not break: the pre-flight rules see shapes only, so what is refused from a client is refused from
curl too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from inspect import Parameter
from typing import Final, Union

HOOK: Final = "__stoker_hook__"
"""Set by ``@stoker.method``, ``enter``, ``exit``, ``sleep`` and ``wake`` to their own name."""
DEFAULT: Final = "__stoker_default__"
"""Set on the method that runs when a call names none."""
TARGET: Final = "__stoker_target__"
"""On a ``Function``: the user's own object."""
CALL: Final = "__call__"
ENTER_NAMES: Final = ("setup", "load")


class Kind(str, Enum):
    """How user code runs."""

    FUNCTION = "function"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async_generator"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class ParameterShape:
    """One parameter."""

    name: str
    kind: int
    """A kind of ``inspect.Parameter``."""
    is_required: bool

    @property
    def is_positional(self) -> bool:
        """Can be given by position."""
        return self.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)

    @property
    def is_variadic(self) -> bool:
        """``*args`` or ``**kwargs``."""
        return self.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallableShape:
    """A function, or a method without its ``self``."""

    name: str
    kind: Kind
    parameters: tuple[ParameterShape, ...]
    line: int = 0
    hook: str = ""
    is_default: bool = False
    returns: str = ""
    """The return annotation as it is written; "" without one."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that must be given."""
        return tuple(item.name for item in self.parameters if item.is_required and not item.is_variadic)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShape:
    """A class with its hooks. ``is_whole`` is false when a base class could not be seen."""

    name: str
    methods: tuple[CallableShape, ...]
    is_whole: bool = True
    line: int = 0

    @property
    def entries(self) -> tuple[CallableShape, ...]:
        """What calls can name."""
        return tuple(m for m in self.methods if m.hook == "method" or (m.name == CALL and not m.hook))

    @property
    def default(self) -> CallableShape | None:
        """What runs when a call names no method: the marked one, ``__call__``, or the only one."""
        entries = self.entries
        for method in entries:
            if method.is_default:
                return method
        for method in entries:
            if method.name == CALL:
                return method
        return entries[0] if len(entries) == 1 else None

    @property
    def enters(self) -> tuple[CallableShape, ...]:
        """Hooks that run before the first call: the marked ones, else one named ``setup`` or ``load``."""
        marked = tuple(m for m in self.methods if m.hook == "enter")
        if marked:
            return marked
        named = {m.name: m for m in self.methods if not m.hook}
        return tuple(named[name] for name in ENTER_NAMES if name in named)[:1]

    @property
    def exits(self) -> tuple[CallableShape, ...]:
        """Hooks that run when a replica stops."""
        return tuple(m for m in self.methods if m.hook == "exit")

    @property
    def sleeps(self) -> tuple[CallableShape, ...]:
        """Hooks that give the device's memory back while a replica is parked."""
        return tuple(m for m in self.methods if m.hook == "sleep")

    @property
    def wakes(self) -> tuple[CallableShape, ...]:
        """Hooks that take it again."""
        return tuple(m for m in self.methods if m.hook == "wake")

    @property
    def init(self) -> CallableShape | None:
        """Its own ``__init__``."""
        return next((m for m in self.methods if m.name == "__init__"), None)


Shape = Union[CallableShape, ClassShape]  # noqa: UP007  # evaluated at run time


def unwrap(target: object) -> object:
    """The user's own object behind a ``Function``."""
    return getattr(target, TARGET, target) if hasattr(type(target), TARGET) else target


def kind_of(target: object) -> str:
    """The kind of a live target, as its manifest says it; "" for what is no handler."""
    if isinstance(target, type):
        return Kind.CLASS.value
    return _callable_kind(target).value if callable(target) else ""


def shape_of(target: object) -> Shape | None:
    """The shape of a live target; None for what cannot be called."""
    target = unwrap(target)
    if isinstance(target, type):
        return _class_shape(target)
    return callable_shape(getattr(target, "__name__", type(target).__name__), target) if callable(target) else None


def callable_shape(name: str, target: Callable[..., object], *, is_bound: bool = True) -> CallableShape:
    """The shape of a live callable; ``is_bound`` false drops its ``self``."""
    try:
        signature = inspect.signature(target)
        parameters = list(signature.parameters.values())
        returns = _annotation(signature.return_annotation)
    except (TypeError, ValueError):  # a builtin without a signature
        returns = ""
        parameters = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
    if not is_bound and parameters and parameters[0].kind != Parameter.VAR_POSITIONAL:
        parameters = parameters[1:]
    hook = getattr(target, HOOK, "")
    return CallableShape(
        name=name,
        kind=_callable_kind(target),
        parameters=tuple(ParameterShape(p.name, p.kind.value, p.default is Parameter.empty) for p in parameters),
        hook=hook if isinstance(hook, str) else "",
        is_default=getattr(target, DEFAULT, False) is True,
        returns=returns,
    )


def _class_shape(cls: type) -> ClassShape:
    methods: dict[str, CallableShape] = {}
    for base in reversed(cls.__mro__[:-1]):
        for name, member in vars(base).items():
            if isinstance(member, (staticmethod, classmethod)):
                shape = callable_shape(name, member.__func__, is_bound=isinstance(member, staticmethod))
            elif inspect.isfunction(member):
                shape = callable_shape(name, member, is_bound=False)
            else:
                continue
            methods[name] = shape
    return ClassShape(name=cls.__name__, methods=tuple(methods.values()))


def _annotation(annotation: object) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    is_plain = isinstance(annotation, type) and not getattr(annotation, "__args__", ())
    return annotation.__name__ if is_plain and isinstance(annotation, type) else str(annotation)


def _callable_kind(target: object) -> Kind:
    for candidate in (target, getattr(target, "__call__", target)):  # noqa: B004  # an object that is called
        if inspect.isasyncgenfunction(candidate):
            return Kind.ASYNC_GENERATOR
        if inspect.iscoroutinefunction(candidate):
            return Kind.ASYNC
        if inspect.isgeneratorfunction(candidate):
            return Kind.GENERATOR
    return Kind.FUNCTION
