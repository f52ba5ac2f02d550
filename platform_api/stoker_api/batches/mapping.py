"""From the columns of a row to the arguments of a call.

The rule that must not break: whether a row's columns fit the function is known before anything runs, with the name
that was probably meant; what depends on one row's values is told for that row alone. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from stoker.errors import InvalidInput
from stoker_api.batches.rows import VALUE_COLUMN, RowProblem

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_TRUTHS: Final = {"true": True, "false": False, "1": True, "0": False}


class MappingFailed(InvalidInput):
    """Columns and parameters do not fit."""

    code = "mapping_failed"
    status = 422
    phase = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a function takes, as its schema says."""

    types: Mapping[str, Json] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    takes_more: bool = True

    @property
    def is_known(self) -> bool:
        return bool(self.types) or not self.takes_more


def parameters_of(schema: object, method: str | None) -> Parameters:
    """The parameters in a function's schema; open where nothing is known of them."""
    if not isinstance(schema, dict):
        return Parameters()
    methods = schema.get("methods")
    entry = methods.get(method) if method and isinstance(methods, dict) and method in methods else schema
    inputs = entry.get("input") if isinstance(entry, dict) else None
    if not isinstance(inputs, dict) or "properties" not in inputs:
        return Parameters()
    properties = inputs.get("properties")
    return Parameters(
        types={str(name): each if isinstance(each, dict) else {} for name, each in dict(properties or {}).items()},
        required=frozenset(inputs.get("required") or ()),
        takes_more=bool(inputs.get("additionalProperties", False)),
    )


class RowMapping:
    """Makes the body of a call from a row."""

    def __init__(
        self,
        columns: Sequence[str],
        parameters: Parameters,
        mapping: Mapping[str, str],
        key: str | None,
        *,
        is_text: bool,
    ) -> None:
        self.pairs = _pairs(columns, parameters, mapping, key)
        """(column, parameter)."""
        self._key = key
        self._required = parameters.required
        self._read: dict[str, Callable[[str], object]] = {}
        if is_text:
            for _, name in self.pairs:
                read = _READERS.get(str(parameters.types.get(name, {}).get("type")))
                if read is not None:
                    self._read[name] = read

    def body(self, values: Mapping[str, object]) -> bytes | RowProblem:
        """The keyword arguments as JSON, or why there are none."""
        arguments: dict[str, object] = {}
        for column, name in self.pairs:
            if column not in values:
                if name in self._required:
                    return RowProblem("missing_column", f"the row has no {column!r}")
                continue
            value = values[column]
            read = self._read.get(name)
            if read is not None and isinstance(value, str):
                try:
                    value = read(value)
                except (ValueError, KeyError):
                    pass  # the function's own check says better what is wrong with it
            arguments[name] = value
        try:
            return _encode(arguments)
        except (TypeError, ValueError, RecursionError, msgspec.EncodeError) as error:
            return RowProblem("invalid_row", f"the row cannot be sent as JSON: {error}")

    def key(self, number: int, values: Mapping[str, object] | None) -> bytes | RowProblem:
        """What names the row in the output, as JSON."""
        if self._key is None:
            return b"%d" % number
        if values is None or values.get(self._key) is None:
            return RowProblem("missing_key", f"the row has no {self._key!r} to be known by")
        return _encode(values[self._key])


def _pairs(
    columns: Sequence[str], parameters: Parameters, mapping: Mapping[str, str], key: str | None
) -> tuple[tuple[str, str], ...]:
    if key is not None and key not in columns:
        raise MappingFailed(f"there is no column {key!r} for the key{_meant(key, columns)}", hint=_have(columns))
    for column in mapping:
        if column not in columns:
            raise MappingFailed(f"there is no column {column!r} to map{_meant(column, columns)}", hint=_have(columns))
    known = parameters.types
    for name in mapping.values():
        if parameters.is_known and name not in known and not parameters.takes_more:
            raise MappingFailed(
                f"the function takes no {name!r}{_meant(name, list(known))}", hint=f"It takes {_named(known)}."
            )
    taken = list(mapping.values())
    if len(set(taken)) != len(taken):
        raise MappingFailed("two columns are mapped to one parameter", hint="Map each parameter once.")
    pairs = list(mapping.items())
    if not parameters.is_known:
        pairs += [(column, column) for column in columns if column not in mapping and column != key]
    else:
        pairs += [(name, name) for name in known if name in columns and name not in taken and name not in mapping]
    missing = [name for name in known if name in parameters.required and name not in {name for _, name in pairs}]
    if len(missing) == 1 and list(columns) == [VALUE_COLUMN]:
        return ((VALUE_COLUMN, missing[0]),)
    if missing:
        name = missing[0]
        raise MappingFailed(
            f"no column is given to the parameter {name!r}{_meant(name, columns)}",
            hint=f"{_have(columns)} Map one: --map COLUMN={name}.",
        )
    if not pairs:
        raise MappingFailed("no column is given to any parameter", hint=f"{_have(columns)} It takes {_named(known)}.")
    return tuple(pairs)


def _meant(name: str, names: Sequence[str]) -> str:
    by_small = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), by_small, n=1, cutoff=0.5)
    return f"; did you mean {by_small[close[0]]!r}?" if close else ""


def _have(columns: Sequence[str]) -> str:
    return f"The input has {_named(columns)}."


def _named(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = [repr(name) for name in list(names)[:20]]
    return ", ".join(shown) + (", …" if len(names) > 20 else "") if shown else "nothing"


def _truth(text: str) -> bool:
    return _TRUTHS[text.strip().lower()]


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "integer": int,
    "number": float,
    "boolean": _truth,
    "array": json.loads,
    "object": json.loads,
}
"""How a column of text becomes what the parameter's type asks for."""
