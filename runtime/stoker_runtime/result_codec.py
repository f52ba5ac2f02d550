"""Turns what user code returned into a body and its content type.

The rule that must not break: JSON says what the function returned or nothing at all. NaN and infinity, which JSON
cannot hold, are an error that names their place, never a silent null.

By the result's type: bytes go out raw, numpy arrays as JSON lists (or .npy where the caller accepts it), Arrow tables
as Arrow streams, a ``stoker.Response`` as it says, and everything else as JSON.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from stoker.response import Response
from stoker_runtime.codec import ARROW_TYPES, NUMPY_TYPES, SAFETENSORS_TYPES

OCTETS: Final = "application/octet-stream"
PLAIN_TYPES: Final = frozenset({dict, list, str, int, float, bool, type(None), tuple})


class Encoded(NamedTuple):
    """A body ready to be sent. ``content_type`` "" is JSON, ``http_status`` 0 is 200."""

    body: bytes | memoryview
    content_type: str = ""
    http_status: int = 0
    headers: tuple[tuple[str, str], ...] = ()


class UnencodableResult(TypeError):
    """The function returned something that cannot be sent; the message says what and where."""


def encode(value: object, accept: str = "") -> Encoded:
    """The body for ``value``; raises ``UnencodableResult``."""
    if not accept and type(value) in PLAIN_TYPES:
        return Encoded(encode_json(value))
    return _encode_any(value, accept)


def encode_json(value: object) -> bytes:
    """JSON text; raises ``UnencodableResult``."""
    try:
        encoded: bytes = _encoder.encode(value)
    except UnencodableResult:
        raise
    except RecursionError as error:
        raise UnencodableResult("the result is nested too deeply, or contains itself") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise UnencodableResult(f"the result cannot be sent as JSON: {error}") from error
    if b"null" in encoded:  # msgspec writes NaN as null: look only where it may have
        place = _non_finite(value, "result")
        if place is not None:
            raise UnencodableResult(f"{place}, which JSON cannot hold; return None, or accept application/x-npy")
    return encoded


def _encode_any(value: object, accept: str) -> Encoded:
    wanted = accept.partition(";")[0].partition(",")[0].strip().lower()
    if isinstance(value, Response):
        return _response(value, wanted)
    if isinstance(value, (bytes, bytearray, memoryview)):
        octets = value if isinstance(value, bytes) else bytes(value)
        return Encoded(octets, wanted if _is_concrete(wanted) else OCTETS)
    if isinstance(value, str) and wanted.startswith("text/") and _is_concrete(wanted):
        return Encoded(value.encode(), f"{wanted}; charset=utf-8")
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and wanted in NUMPY_TYPES:
        return Encoded(_npy(value), wanted)
    if module == "pyarrow" and type(value).__name__ in ("Table", "RecordBatch"):
        return Encoded(_arrow(value), next(iter(ARROW_TYPES)))
    if wanted in SAFETENSORS_TYPES:
        if isinstance(value, Mapping) and all(_is_numeric_array(array) for array in value.values()):
            return Encoded(_safetensors(value), wanted)
        if _is_numeric_array(value):  # one tensor without a name
            return Encoded(_npy(value), "application/x-npy")
    return Encoded(encode_json(value))


def _response(response: Response, wanted: str) -> Encoded:
    headers = tuple((str(name), str(text)) for name, text in dict(response.headers or {}).items())
    content_type = response.content_type
    body = response.body
    if isinstance(body, str) and content_type:
        return Encoded(body.encode(), content_type, response.status, headers)
    inner = Encoded(b"", "text/plain") if body is None else _encode_any(body, "" if content_type else wanted)
    return Encoded(inner.body, content_type or inner.content_type, response.status, headers)


def _is_concrete(media_type: str) -> bool:
    return bool(media_type) and "*" not in media_type and media_type not in ("application/json", "text/event-stream")


def _is_numeric_array(value: object) -> bool:
    """An array that safetensors and .npy can hold: no strings, no objects."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and getattr(dtype, "kind", "f") in "biufc"


def _npy(value: object) -> memoryview:
    import numpy

    out = io.BytesIO()
    try:
        numpy.save(out, numpy.asarray(value), allow_pickle=False)
    except ValueError as error:
        raise UnencodableResult(f"the array cannot be sent as .npy: {error}") from error
    return out.getbuffer()


def _arrow(value: object) -> memoryview:
    import pyarrow
    from pyarrow import ipc

    sink = pyarrow.BufferOutputStream()
    with ipc.new_stream(sink, value.schema) as writer:  # type: ignore[attr-defined]  # a Table or RecordBatch
        writer.write(value)
    return memoryview(sink.getvalue())


def _safetensors(value: Mapping[object, object]) -> bytes:
    try:
        import numpy
        from safetensors.numpy import save
    except ImportError as error:
        raise UnencodableResult(f"safetensors cannot be sent: {error}") from error
    return bytes(save({str(name): numpy.ascontiguousarray(array) for name, array in value.items()}))


def _plain_value(value: object) -> object:
    """What msgspec does not know by itself."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and hasattr(type(value), "__pydantic_validator__"):
        return dump(mode="json")
    for name in ("tolist", "to_list", "to_pylist"):  # numpy and torch, pandas, Arrow
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict) and type(value).__module__.startswith("pandas"):
        return to_dict(orient="records")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (range, map, filter, zip)):
        return list(value)
    raise UnencodableResult(
        f"the result holds a {type(value).__module__}.{type(value).__qualname__}, which cannot be sent as JSON; "
        "return plain values, numpy arrays, bytes, pydantic models or dataclasses"
    )


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain_value)


def _non_finite(value: object, place: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} is {value}"
    if isinstance(value, Mapping):
        children = [(f"{place}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        children = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [(f"{place}.{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value)]
    elif value is None or isinstance(value, (str, int, bytes)):
        return None
    else:
        try:
            return _non_finite(_plain_value(value), place)
        except UnencodableResult:
            return None
    for child_place, item in children:
        found = _non_finite(item, child_place)
        if found is not None:
            return found
    return None
