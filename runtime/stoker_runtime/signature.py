"""How a call's body becomes the arguments of one callable, checked against its type hints.

The rule that must not break: user code only ever sees arguments that fit its signature; what does not fit is
``InvalidArguments`` with the path of every wrong field. A function without type hints pays nothing for this.

A JSON object gives keyword arguments; other values are one positional argument. When the only parameter takes an
object (a dict, TypedDict, dataclass or pydantic model) and the body does not name it, the object is passed whole.
pydantic is imported only for functions with type hints beyond ``Any``.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from stoker.errors import InvalidArguments
from stoker_runtime.codec import Body, Decoded, TensorList, decode_json, parse_json
from stoker_runtime.typed_dicts import readable_hint

Validator = Callable[[object], object]
Arguments = tuple[tuple[object, ...], dict[str, object]]

_EMPTY: Final = inspect.Parameter.empty
_SEQUENCES: Final = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


class Binder:
    """The parameters of one callable, and how a body fills them."""

    def __init__(self, call: Callable[..., object], *, is_batched: bool = False) -> None:
        signature = inspect.signature(call)
        hints = {name: readable_hint(hint) for name, hint in _resolved_hints(call, signature).items()}
        self.hints: dict[str, object] = {}
        returns = hints.get("return", _EMPTY)
        self.returns = _item_hint(returns) if is_batched else returns
        parameters = list(signature.parameters.values())
        self.positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.positional_only = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self.names = [p.name for p in named]
        self.required = [p.name for p in named if p.default is _EMPTY]
        self.defaults = {p.name: p.default for p in named if p.default is not _EMPTY}
        self.takes_more_positional = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.takes_more_names = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for name in self.names:
            hint = hints.get(name, _EMPTY)
            self.hints[name] = _item_hint(hint) if is_batched else hint
        self._validators = {n: v for n, h in self.hints.items() if (v := validator_for(h)) is not None}
        self._exact_names = frozenset(self.names) if not self.positional_only else None
        self._is_quick = self._exact_names is not None and not self._validators
        self._whole: str | None = None
        if len(self.names) == 1 and not self.takes_more_names and _takes_object(self.hints[self.names[0]]):
            self._whole = self.names[0]

    def bind(self, decoded: Decoded) -> Arguments:
        """Arguments from a plain body; raises ``InvalidArguments``."""
        value = decoded.value
        if not decoded.has_names:
            if value is None and not self.names and not self.takes_more_positional:
                return (), {}
            return self._checked((value,), {})
        assert isinstance(value, dict)
        if self._whole is not None and self._whole not in value:
            return self._checked((value,), {})
        if value.keys() == self._exact_names and not self._validators:
            return (), value
        return self._checked((), value)

    def bind_json(self, body: Body) -> Arguments:
        """Arguments from a JSON body; raises ``InvalidArguments``."""
        if self._is_quick and len(body):
            try:
                value = parse_json(body)
            except (ValueError, RecursionError):
                pass  # told below, in our words
            else:
                if type(value) is dict and value.keys() == self._exact_names:
                    return (), value
        return self.bind(decode_json(body))

    def bind_call(self, value: object) -> Arguments:
        """Arguments from an SDK call, ``[args, kwargs]``; raises ``InvalidArguments``."""
        if not (
            isinstance(value, list) and len(value) == 2 and isinstance(value[0], list) and isinstance(value[1], dict)
        ):
            raise InvalidArguments("an SDK call must be [args, kwargs]", errors=(("", "must be [args, kwargs]"),))
        return self._checked(tuple(value[0]), value[1])

    def by_name(self, arguments: Arguments) -> dict[str, object]:
        """The same arguments, all by parameter name: how items of a batch are lined up."""
        args, kwargs = arguments
        return {**dict(zip(self.positional, args, strict=False)), **kwargs}

    def _checked(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Arguments:
        errors: list[tuple[str, str]] = []
        if self.positional_only and not args:
            args, kwargs = self._moved(kwargs)
        if len(args) > len(self.positional) and not self.takes_more_positional:
            errors.append((str(len(self.positional)), f"takes {len(self.positional)} arguments, got {len(args)}"))
        given = self.positional[: len(args)]
        errors += [(name, "missing argument") for name in self.required if name not in kwargs and name not in given]
        for name in kwargs:
            if name in given:
                errors.append((name, "given twice"))
            elif name not in self.hints and not self.takes_more_names:
                errors.append((name, "unexpected argument"))
        if errors:
            raise self._refusal(errors)
        if self._validators:
            return self._validated(args, kwargs)
        return args, kwargs

    def _validated(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Arguments:
        errors: list[tuple[str, str]] = []
        checked = [self._validate(name, value, errors) for name, value in zip(self.positional, args, strict=False)]
        named = {name: self._validate(name, value, errors) for name, value in kwargs.items()}
        if errors:
            raise self._refusal(errors)
        return (*checked, *args[len(self.positional) :]), named

    def _validate(self, name: str, value: object, errors: list[tuple[str, str]]) -> object:
        validate = self._validators.get(name)
        if validate is None:
            return value
        try:
            return validate(value)
        except ValueError as error:  # pydantic's ValidationError is one
            for plain in _plain_forms(value):
                with contextlib.suppress(ValueError):
                    return validate(plain)
            details = getattr(error, "errors", None)
            if details is None:
                errors.append((name, str(error)))
                return value
            for detail in details(include_url=False, include_context=False, include_input=False):
                errors.append((".".join([name, *map(str, detail["loc"])]), str(detail["msg"])))
            return value

    def _moved(self, kwargs: dict[str, object]) -> Arguments:
        rest = dict(kwargs)
        args = []
        for name in self.positional_only:
            if name not in rest:
                break
            args.append(rest.pop(name))
        return tuple(args), rest

    def _refusal(self, errors: list[tuple[str, str]]) -> InvalidArguments:
        place, message = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        wanted = ", ".join(self.names) or "no arguments"
        detail = f"{place}: {message}{more}" if place else f"{message}{more}"
        return InvalidArguments(detail, errors=tuple(errors), hint=f"The function takes: {wanted}.")


def validator_for(hint: object) -> Validator | None:
    """What checks and converts one value; None where anything fits."""
    if hint in (_EMPTY, Any, object) or isinstance(hint, (str, typing.TypeVar)):
        return None
    if _is_numpy_array(hint):
        return _as_array
    from pydantic import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter

    try:
        adapter = TypeAdapter[Any](hint)  # type: ignore[arg-type]  # a hint is whatever the user wrote
        return adapter.validate_python
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError, TypeError, NameError):
        return None  # a class of the user's own that no body can make: user code sees what was sent


def _plain_forms(value: object) -> list[object]:
    """What a tensor may be meant as, where the hint wants no array: one value, or lists."""
    if isinstance(value, TensorList):
        return value if len(value) == 1 else []
    if type(value).__module__ != "numpy" or not hasattr(value, "tolist"):
        return []
    lists = value.tolist()
    return [lists[0], lists] if isinstance(lists, list) and len(lists) == 1 else [lists]


def _as_array(value: object) -> object:
    import numpy

    return value if isinstance(value, numpy.ndarray) else numpy.asarray(value)


def _is_numpy_array(hint: object) -> bool:
    base = get_origin(hint) or hint
    return getattr(base, "__module__", "") == "numpy" and getattr(base, "__name__", "") == "ndarray"


def _resolved_hints(call: Callable[..., object], signature: inspect.Signature) -> dict[str, object]:
    function = inspect.unwrap(call)
    if not isinstance(function, (types.FunctionType, types.MethodType)):
        function = getattr(function, "__call__", function)  # noqa: B004  # an object that is called
    try:
        return dict(typing.get_type_hints(function, include_extras=True))
    except (NameError, TypeError, AttributeError, SyntaxError):
        pass  # a name that exists only for the type checker: take each hint that resolves
    scope = getattr(function, "__globals__", {})
    hints: dict[str, object] = {}
    named = {name: p.annotation for name, p in signature.parameters.items()}
    for name, hint in {**named, "return": signature.return_annotation}.items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, scope)  # the user's own annotation in the user's own process
            except Exception:
                continue
        if hint is not _EMPTY:
            hints[name] = hint
    return hints


def _item_hint(hint: object) -> object:
    """The type of one item of a batched parameter: ``list[str]`` → ``str``."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in _SEQUENCES and get_args(hint):
        return get_args(hint)[0]
    return _EMPTY


def _takes_object(hint: object) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        return _takes_object(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return any(_takes_object(part) for part in get_args(hint))
    base = origin or hint
    if not isinstance(base, type):
        return False
    return (
        issubclass(base, Mapping)
        or typing.is_typeddict(base)
        or dataclasses.is_dataclass(base)
        or hasattr(base, "model_fields")
    )
