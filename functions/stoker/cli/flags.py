"""A function's parameters as command-line flags, from its signature and type hints.

The rule that must not break: a value means the same as a flag, as ``name=value`` and in a call's JSON body.
"""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from stoker.cli.parameter_type import ParameterType


class JsonValue(ParameterType):
    """JSON where it can be read as such, else the text itself; ``@file`` reads a file."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        return loose_value(value) if isinstance(value, str) else value


class TypedValue(ParameterType):
    """A value of a type hint that is richer than a plain one, checked by pydantic."""

    name = "json"

    def __init__(self, hint: object) -> None:
        self._hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read JSON and make it what the hint says."""
        from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

        hint: Any = self._hint
        raw = loose_value(value) if isinstance(value, str) else value
        try:
            return TypeAdapter(hint).validate_python(raw)
        except PydanticSchemaGenerationError:
            return raw
        except ValidationError as error:
            self.fail("; ".join(_said(item) for item in error.errors()), param, ctx)


class BytesValue(ParameterType):
    """``@file`` or plain text, as bytes."""

    name = "@file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if not isinstance(value, str):
            return value
        return read_file(value[1:]) if value.startswith("@") else value.encode()


class TextValue(ParameterType):
    """Text as it stands; ``@file`` reads a file."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if isinstance(value, str) and value.startswith("@"):
            return read_file(value[1:]).decode()
        return value


def loose_value(text: str) -> object:
    """JSON where it can be read as such, ``@file`` as JSON or text, else the text."""
    if text.startswith("@"):
        content = read_file(text[1:])
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return content
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_file(name: str) -> bytes:
    """A file's bytes; a usage error where it cannot be read."""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {name!r}: {error.strerror}") from error


def flags_of(target: Callable[..., object], *, is_batched: bool, is_method: bool = False) -> list[click.Option]:
    """One option for each parameter."""
    return [
        _flag(parameter, hint) for parameter, hint in parameters_of(target, is_batched=is_batched, is_method=is_method)
    ]


def parameters_of(
    target: Callable[..., object], *, is_batched: bool, is_method: bool = False
) -> list[tuple[inspect.Parameter, object]]:
    """Parameters that can be given by name, with what one call gives for each."""
    hints = _hints(target)
    parameters = list(inspect.signature(target).parameters.values())[1 if is_method else 0 :]
    found = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(parameter.name, parameter.empty)
        found.append((parameter, _item_of(hint) if is_batched else hint))
    return found


def with_positions(args: Sequence[str], options: Sequence[click.Option]) -> dict[str, str]:
    """``21`` and ``x=21`` by parameter's name; raises a usage error."""
    names = [str(option.name) for option in options]
    values: dict[str, str] = {}
    for index, arg in enumerate(args):
        name, separator, value = arg.partition("=")
        if not separator or name not in names:
            if index >= len(names):
                raise click.UsageError(f"too many arguments: {arg!r}; it takes {', '.join(names) or 'none'}")
            name, value = names[index], arg
        if name in values:
            raise click.UsageError(f"{name} is given twice")
        values[name] = value
    return values


def _flag(parameter: inspect.Parameter, hint: object) -> click.Option:
    name = parameter.name.replace("_", "-")
    plain = _plain_hint(hint)
    spellings = [f"--{name}"] + ([f"--{parameter.name}"] if name != parameter.name else [])
    if plain is bool:
        spellings[0] += f"/--no-{name}"
    settings: dict[str, Any] = {"help": _help(hint, parameter)}
    if plain is not bool:
        settings["type"] = _param_type(plain)
    return click.Option([parameter.name, *spellings], default=None, **settings)


def _param_type(hint: object) -> ParameterType | type:
    if hint in (int, float):
        return typing.cast(type, hint)
    if hint is str:
        return TextValue()
    if hint is bytes:
        return BytesValue()
    if hint is Path:
        return click.Path(path_type=Path)
    if get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint)):
        return click.Choice([str(choice) for choice in get_args(hint)])
    if hint in (inspect.Parameter.empty, Any, object):
        return JsonValue()
    return TypedValue(hint)


def _plain_hint(hint: object) -> object:
    """The hint without ``Annotated`` and ``| None``."""
    if get_origin(hint) is Annotated:
        return _plain_hint(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        others = [item for item in get_args(hint) if item is not type(None)]
        if len(others) == 1:
            return _plain_hint(others[0])
    return hint


def _item_of(hint: object) -> object:
    """What one caller gives where the function gets a list."""
    plain = _plain_hint(hint)
    args = get_args(plain)
    return args[0] if args and get_origin(plain) not in (Union, types.UnionType, Literal) else inspect.Parameter.empty


def _help(hint: object, parameter: inspect.Parameter) -> str:
    shown = "" if hint is parameter.empty else getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        shown = " | ".join(str(item.value) for item in hint)
    default = "" if parameter.default is parameter.empty else f"default: {parameter.default!r}"
    needed = "required" if parameter.default is parameter.empty else ""
    return ", ".join(part for part in (shown, default, needed) if part)


def _hints(target: Callable[..., object]) -> dict[str, object]:
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # a hint that is known to type checkers only
        return {}


def _said(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path}: {error['msg']}" if path else str(error["msg"])
