"""Tensors of KServe's v2 protocol as arguments: what the metadata offers for a hint is what the hint takes."""

from __future__ import annotations

import numpy
import pytest
from safetensors.numpy import save

from stoker.errors import InvalidArguments
from stoker_runtime.codec import TENSORS_JSON, decode
from stoker_runtime.signature import Binder


def number(x: int) -> None: ...
def numbers(x: list[float]) -> None: ...
def text(x: str) -> None: ...
def texts(x: list[str]) -> None: ...
def data(x: bytes) -> None: ...
def anything(x): ...  # type: ignore[no-untyped-def]


def of_array(array: numpy.ndarray) -> object:
    return decode(save({"x": array}), "application/x-safetensors")


@pytest.mark.parametrize(
    ("call", "array", "expected"),
    [(number, [5], 5), (numbers, [1.5, 2.5], [1.5, 2.5]), (numbers, [1.5], [1.5])],
    ids=["one number", "a list", "a list of one"],
)
def test_numbers_fit_their_hints(call, array: list[float], expected: object) -> None:  # type: ignore[no-untyped-def]
    assert Binder(call).bind(of_array(numpy.array(array))) == ((), {"x": expected})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "body", "expected"),
    [
        (text, b'{"x":["a"]}', "a"),
        (texts, b'{"x":["a"]}', ["a"]),
        (data, b'{"x":["a"]}', b"a"),
        (anything, b'{"x":["a"]}', ["a"]),
    ],
    ids=["one text", "a list of texts", "bytes", "no hint"],
)
def test_strings_fit_their_hints(call, body: bytes, expected: object) -> None:  # type: ignore[no-untyped-def]
    assert Binder(call).bind(decode(body, TENSORS_JSON)) == ((), {"x": expected})


def test_what_is_more_than_the_hint_takes_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="x: "):
        Binder(text).bind(decode(b'{"x":["a","b"]}', TENSORS_JSON))
    with pytest.raises(InvalidArguments, match="x: "):
        Binder(number).bind(of_array(numpy.array([1, 2])))  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="must be an object"):
        decode(b"[1]", TENSORS_JSON)
