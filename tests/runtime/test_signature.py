"""Bodies become arguments, or an error that names every wrong field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest
from pydantic import Field

from stoker.errors import InvalidArguments
from stoker_runtime.codec import Decoded
from stoker_runtime.signature import Binder


class Options(TypedDict):
    depth: int


@dataclasses.dataclass
class Query:
    text: str
    top: int = 3


def untyped(a: Any, b: Any = 2) -> None: ...
def whole_dict(data: dict[str, int]) -> None: ...
def whole_typed(options: Options) -> None: ...
def whole_dataclass(query: Query) -> None: ...
def bounded(n: Annotated[int, Field(ge=0)]) -> None: ...
def array(x: np.ndarray[Any, Any]) -> None: ...
def positional_only(a: int, /, b: int) -> None: ...
def any_names(**names: int) -> None: ...
def nothing() -> None: ...


def bind(call: Callable[..., None], value: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return Binder(call).bind(Decoded(value, isinstance(value, dict)))


@pytest.mark.parametrize(
    ("call", "value", "arguments"),
    [
        (untyped, {"a": 1}, ((), {"a": 1})),
        (untyped, [1, 2], (([1, 2],), {})),
        (whole_dict, {"x": 1}, (({"x": 1},), {})),
        (whole_dict, {"data": {"x": 1}}, ((), {"data": {"x": 1}})),
        (whole_typed, {"depth": "4"}, (({"depth": 4},), {})),
        (whole_dataclass, {"text": "a"}, ((Query("a"),), {})),
        (positional_only, {"a": 1, "b": 2}, ((1,), {"b": 2})),
        (any_names, {"x": 1}, ((), {"x": 1})),
        (nothing, {}, ((), {})),
        (nothing, None, ((), {})),
    ],
    ids=str,
)
def test_a_body_becomes_arguments(call: Callable[..., None], value: object, arguments: object) -> None:
    assert bind(call, value) == arguments


@pytest.mark.parametrize(
    ("call", "value", "places"),
    [
        (untyped, {"c": 1}, ["a", "c"]),
        (bounded, {"n": -1}, ["n"]),
        (bounded, "many", ["n"]),
        (whole_dict, {"x": "one"}, ["data.x"]),
        (whole_dataclass, {"text": 1, "top": "x"}, ["query.text", "query.top"]),
        (nothing, 1, ["0"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(call: Callable[..., None], value: object, places: list[str]) -> None:
    with pytest.raises(InvalidArguments) as caught:
        bind(call, value)
    assert [place for place, _ in caught.value.errors] == places


def test_a_list_becomes_the_array_that_the_hint_names() -> None:
    (value,), _ = bind(array, [[1, 2]])
    assert isinstance(value, np.ndarray)
    assert value.shape == (1, 2)


def test_an_sdk_call_must_be_args_and_kwargs() -> None:
    assert Binder(untyped).bind_call([[1], {"b": 3}]) == ((1,), {"b": 3})
    with pytest.raises(InvalidArguments):
        Binder(untyped).bind_call({"a": 1})
    with pytest.raises(InvalidArguments):
        Binder(untyped).bind_call([[1], {"a": 3}])


class Loose(TypedDict, total=False):
    inner: list[Options]


def nested(loose: Loose, more: dict[str, Options] | None = None) -> None: ...


def test_typed_dicts_are_checked_at_any_depth() -> None:
    assert bind(nested, {"loose": {}, "more": None}) == ((), {"loose": {}, "more": None})
    with pytest.raises(InvalidArguments) as caught:
        bind(nested, {"loose": {"inner": [{"depth": "x"}]}, "more": {"a": {}}})
    assert [place for place, _ in caught.value.errors] == ["loose.inner.0.depth", "more.a.depth"]
