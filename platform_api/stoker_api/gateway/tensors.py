"""Tensors of the Open Inference Protocol, without numpy.

A tensor is its name, datatype, shape and little-endian bytes, which is what the protocol's binary extension, and
safetensors, hold anyway. The rule that must not break: the number of bytes always fits shape and datatype.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from stoker.errors import InvalidArguments

Scalar = bool | int | float | str | bytes
MAX_DIMENSIONS: Final = 32
_MAX_ELEMENTS: Final = 1 << 40

# datatype → (bytes, struct code, name in safetensors); BF16 has no code: Python has no such number
_NUMERIC: Final[dict[str, tuple[int, str, str]]] = {
    "BOOL": (1, "?", "BOOL"),
    "UINT8": (1, "B", "U8"),
    "UINT16": (2, "H", "U16"),
    "UINT32": (4, "I", "U32"),
    "UINT64": (8, "Q", "U64"),
    "INT8": (1, "b", "I8"),
    "INT16": (2, "h", "I16"),
    "INT32": (4, "i", "I32"),
    "INT64": (8, "q", "I64"),
    "FP16": (2, "e", "F16"),
    "BF16": (2, "", "BF16"),
    "FP32": (4, "f", "F32"),
    "FP64": (8, "d", "F64"),
}
_FROM_SAFETENSORS: Final = {row[2]: datatype for datatype, row in _NUMERIC.items()}
_FROM_NUMPY: Final = {
    "|b1": "BOOL",
    "|u1": "UINT8",
    "<u2": "UINT16",
    "<u4": "UINT32",
    "<u8": "UINT64",
    "|i1": "INT8",
    "<i2": "INT16",
    "<i4": "INT32",
    "<i8": "INT64",
    "<f2": "FP16",
    "<f4": "FP32",
    "<f8": "FP64",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """``data`` is little endian and row-major; BYTES elements each have their length (4 bytes) before them."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        count = element_count(self.name, self.shape)
        if self.datatype == "BYTES":
            return
        row = _NUMERIC.get(self.datatype)
        if row is None:
            raise InvalidArguments(
                f"tensor {self.name!r} has datatype {self.datatype!r}",
                hint=f"Known: {', '.join(_NUMERIC)}, BYTES.",
            )
        if len(self.data) != count * row[0]:
            raise InvalidArguments(
                f"tensor {self.name!r} has {len(self.data)} bytes; {self.datatype} {list(self.shape)} needs "
                f"{count * row[0]}"
            )

    def values(self) -> list[Scalar]:
        """The elements, flat; raises ``InvalidArguments`` for BF16, which JSON cannot say."""
        if self.datatype == "BYTES":
            return list(_split_bytes(self))
        code = _NUMERIC[self.datatype][1]
        if not code:
            raise InvalidArguments(
                f"tensor {self.name!r} is BF16, which has no form in JSON", hint="Use the binary tensor extension."
            )
        return list(struct.unpack(f"<{element_count(self.name, self.shape)}{code}", self.data))


def element_count(name: str, shape: Sequence[int]) -> int:
    """Elements of a shape; raises ``InvalidArguments`` for one that cannot be."""
    if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape) or math.prod(shape) > _MAX_ELEMENTS:
        raise InvalidArguments(f"tensor {name!r} has shape {list(shape)[:MAX_DIMENSIONS]}")
    return math.prod(shape)


def tensor_from_values(name: str, datatype: str, shape: Sequence[int], values: object) -> Tensor:
    """A tensor from JSON ``data``, flat or nested; raises ``InvalidArguments``."""
    flat = _flatten(values)
    count = element_count(name, shape)
    if len(flat) != count:
        raise InvalidArguments(f"tensor {name!r} has {len(flat)} elements; shape {list(shape)} needs {count}")
    if datatype == "BYTES":
        return Tensor(name, datatype, tuple(shape), join_bytes(flat))
    code = _NUMERIC.get(datatype, (0, "", ""))[1]
    if not code:
        raise InvalidArguments(
            f"tensor {name!r} cannot be {datatype!r} in JSON",
            hint="BF16 needs the binary tensor extension." if datatype == "BF16" else f"Known: {', '.join(_NUMERIC)}.",
        )
    try:
        return Tensor(name, datatype, tuple(shape), struct.pack(f"<{count}{code}", *flat))
    except (struct.error, OverflowError, TypeError) as error:
        raise InvalidArguments(f"tensor {name!r} holds a value that is no {datatype}: {error}") from error


def tensor_from_json(name: str, value: object) -> Tensor:
    """A tensor from a plain JSON value; its datatype is the narrowest of BOOL, INT64, FP64, BYTES that fits all."""
    shape = _shape_of(value)
    flat = _flatten(value) if isinstance(value, list) else [value]
    if math.prod(shape) != len(flat) or any(isinstance(item, (dict, list)) or item is None for item in flat):
        encoded = msgspec.json.encode(value)  # not a tensor at all: one string that says it
        return Tensor(name, "BYTES", (1,), join_bytes([encoded]))
    datatype = _common_datatype(flat)
    return tensor_from_values(name, datatype, shape or (1,), flat)


def join_bytes(items: Iterable[object]) -> bytes:
    """Elements of a BYTES tensor, each after its length."""
    parts = []
    for item in items:
        raw = item if isinstance(item, bytes) else str(item).encode()
        parts.append(struct.pack("<I", len(raw)) + raw)
    return b"".join(parts)


def to_safetensors(tensors: Sequence[Tensor]) -> bytes:
    """A safetensors file."""
    header: dict[str, object] = {}
    offset = 0
    for tensor in tensors:
        end = offset + len(tensor.data)
        kind = _NUMERIC[tensor.datatype][2]
        header[tensor.name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % 8)
    return b"".join([struct.pack("<Q", len(encoded)), encoded, *(tensor.data for tensor in tensors)])


def from_safetensors(data: bytes) -> list[Tensor]:
    """The tensors of a safetensors file that a worker made, in the order of their bytes' header."""
    (header_bytes,) = struct.unpack_from("<Q", data)
    header = msgspec.json.decode(data[8 : 8 + header_bytes], type=dict[str, dict[str, object]])
    body = memoryview(data)[8 + header_bytes :]
    tensors = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        row = msgspec.convert(entry, SafetensorsEntry)
        begin, end = row.data_offsets
        tensors.append(Tensor(name, _FROM_SAFETENSORS[row.dtype], row.shape, bytes(body[begin:end])))
    return tensors


def from_npy(name: str, data: bytes) -> Tensor:
    """The tensor of an ``.npy`` file that a worker made."""
    import ast

    is_v1 = data[6] == 1
    start = 10 if is_v1 else 12
    header_bytes = int.from_bytes(data[8:start], "little")
    header = ast.literal_eval(data[start : start + header_bytes].decode("latin-1"))
    if header["fortran_order"] or header["descr"] not in _FROM_NUMPY:
        raise InvalidArguments(f"the result is an array of {header['descr']!r}, which no tensor can be")
    return Tensor(name, _FROM_NUMPY[header["descr"]], tuple(header["shape"]), data[start + header_bytes :])


class SafetensorsEntry(msgspec.Struct):
    """One row of a safetensors header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def nested(values: Sequence[Scalar], shape: Sequence[int]) -> object:
    """Flat elements as nested lists."""
    level: list[object] = list(values)
    for size in reversed(shape[1:]):
        if not size:
            return []
        level = [level[start : start + size] for start in range(0, len(level), size)]
    return level if shape else level[0]


def _split_bytes(tensor: Tensor) -> Iterable[bytes]:
    data, position = tensor.data, 0
    for _ in range(element_count(tensor.name, tensor.shape)):
        end = position + 4
        size = int.from_bytes(data[position:end], "little")
        if end > len(data) or end + size > len(data):
            raise InvalidArguments(f"tensor {tensor.name!r} ends within an element")
        yield data[end : end + size]
        position = end + size
    if position != len(data):
        raise InvalidArguments(f"tensor {tensor.name!r} has {len(data) - position} bytes too many")


def _flatten(value: object) -> list[object]:
    if not isinstance(value, list):
        return [value]
    flat, level = value, 0
    while flat and any(isinstance(item, list) for item in flat):
        level += 1
        if level > MAX_DIMENSIONS:
            raise InvalidArguments("a tensor's data is nested too deeply")
        flat = [leaf for item in flat for leaf in (item if isinstance(item, list) else [item])]
    return flat


def _shape_of(value: object) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _common_datatype(flat: Sequence[object]) -> str:
    kinds = {type(item) for item in flat}
    if kinds <= {bool} and kinds:
        return "BOOL"
    if kinds == {int} and all(-(1 << 63) <= item < 1 << 63 for item in flat if isinstance(item, int)):
        return "INT64"
    return "FP64" if kinds <= {int, float} else "BYTES"
