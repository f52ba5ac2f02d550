"""Bodies by content type, both ways."""

from __future__ import annotations

import dataclasses
import io
from decimal import Decimal
from enum import Enum

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc
from pydantic import BaseModel
from safetensors.numpy import load, save

from stoker.errors import InvalidArguments
from stoker.response import Response
from stoker_runtime.codec import Upload, decode
from stoker_runtime.result_codec import UnencodableResult, encode

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
def test_json_survives_the_way_there_and_back(value: object) -> None:
    assert decode(encode(value).body, "application/json").value == value


@given(body=st.binary())
def test_any_body_decodes_or_is_the_callers_fault(body: bytes) -> None:
    for content_type in (
        "",
        "application/json",
        "text/plain; charset=utf-16",
        "application/x-npy",
        "application/vnd.apache.arrow.stream",
        "application/x-safetensors",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "image/png",
    ):
        try:
            decode(body, content_type)
        except InvalidArguments:
            pass


@pytest.mark.parametrize(
    "body", [b'{"x": NaN}', b"[1,", b"{'x': 1}", b"[" * 100_000], ids=["nan", "cut", "quotes", "deep"]
)
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArguments):
        decode(body, "application/json")


def test_what_curl_sends_without_a_type_is_read_as_json() -> None:
    assert decode(b'{"x": 21}', "application/x-www-form-urlencoded").value == {"x": 21}
    assert decode(b"x=21&y=a%20b", "application/x-www-form-urlencoded").value == {"x": "21", "y": "a b"}


def test_a_form_has_fields_and_files() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="title"\r\n\r\nHello\r\n'
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x89PNG\r\n\x00\r\n--B--\r\n"
    )
    decoded = decode(body, "multipart/form-data; boundary=B")
    assert isinstance(decoded.value, dict)
    image = decoded.value["image"]
    assert decoded.value["title"] == "Hello"
    assert image == b"\x89PNG\r\n\x00"
    assert isinstance(image, Upload)
    assert (image.filename, image.content_type) == ("a.png", "image/png")


def test_numpy_comes_in_place_and_goes_as_asked() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    out = io.BytesIO()
    np.save(out, array)
    body = bytearray(out.getvalue())
    decoded = decode(body, "application/x-npy").value
    assert isinstance(decoded, np.ndarray)
    assert np.array_equal(decoded, array)
    assert np.shares_memory(decoded, np.frombuffer(body, np.uint8))
    encoded = encode(decoded, "application/x-npy")
    assert (encoded.content_type, bytes(encoded.body)) == ("application/x-npy", bytes(body))
    assert msgspec.json.decode(encode(array).body) == array.tolist()


def test_an_array_of_objects_is_never_unpickled() -> None:
    out = io.BytesIO()
    np.save(out, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidArguments, match="objects"):
        decode(out.getvalue(), "application/x-npy")


def test_arrow_and_safetensors_both_ways() -> None:
    table = pa.table({"a": [1, 2]})
    encoded = encode(table)
    assert decode(encoded.body, encoded.content_type).value == table
    assert ipc.open_stream(encoded.body).read_all() == table
    tensors = {"w": np.ones((2, 2), np.float32)}
    decoded = decode(save(tensors), "application/x-safetensors")
    assert decoded.has_names
    assert np.array_equal(load(bytes(encode(decoded.value, "application/x-safetensors").body))["w"], tensors["w"])


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    n: int = 1


@dataclasses.dataclass
class Point:
    x: float = 1.5
    model: Model = dataclasses.field(default_factory=Model)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Model(), {"n": 1}),
        (Point(), {"x": 1.5, "model": {"n": 1}}),
        ({"a": np.float32(0.5), "b": np.int64(3), "c": {1, 2}}, {"a": 0.5, "b": 3, "c": [1, 2]}),
        ((1, Colour.RED), [1, "red"]),
        (Decimal("1.5"), "1.5"),
        (range(3), [0, 1, 2]),
    ],
    ids=["model", "dataclass", "scalars", "enum", "decimal", "range"],
)
def test_results_of_many_types_are_json(value: object, expected: object) -> None:
    assert msgspec.json.decode(encode(value).body) == expected


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1.0, float("nan")], r"result\[1\] is nan"),
        (np.array([0.0, np.inf]), r"result\[1\] is inf"),
        (Point(x=float("-inf")), r"result\.x is -inf"),
        (object(), "builtins.object"),
    ],
    ids=["list", "array", "dataclass", "object"],
)
def test_what_json_cannot_hold_is_an_error(value: object, place: str) -> None:
    with pytest.raises(UnencodableResult, match=place):
        encode(value)


def test_a_response_of_any_body() -> None:
    assert encode(Response({"a": 1}, 202)).body == b'{"a":1}'
    assert encode(Response("plain", content_type="text/plain")).body == b"plain"
    assert encode(Response(b"\x00")).content_type == "application/octet-stream"
    assert encode("text", "text/plain").content_type == "text/plain; charset=utf-8"


def test_a_mapping_with_words_falls_back_to_json() -> None:
    encoded = encode({"label": ["a"], "score": np.array([0.5])}, "application/x-safetensors")
    assert (encoded.content_type, bytes(encoded.body)) == ("", b'{"label":["a"],"score":[0.5]}')


def test_one_array_keeps_its_type_where_tensors_are_wanted() -> None:
    encoded = encode(np.array([1.5], dtype=np.float32), "application/x-safetensors")
    assert encoded.content_type == "application/x-npy"
    assert np.load(io.BytesIO(bytes(encoded.body))).dtype == np.float32
