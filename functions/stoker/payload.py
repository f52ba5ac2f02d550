"""Arguments as a request body, and an answer's body as a value.

The rule that must not break: nothing is pickled, and numpy is touched only where the user already uses it.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stoker.carried_bytes import carried
from stoker.errors import InvalidArguments

ARGS_TYPE: Final = "application/vnd.stoker.args+json"
JSON_TYPE: Final = "application/json"
OCTETS: Final = "application/octet-stream"
NPY: Final = "application/x-npy"
_NPY_MAGIC: Final = b"\x93NUMPY"


class Payload(NamedTuple):
    """A request's body and what it says about itself."""

    body: bytes
    content_type: str
    accept: str = ""


def encode_call(args: Sequence[object], kwargs: Mapping[str, object]) -> Payload:
    """The body of a call: raw for one bytes or one numpy argument, else JSON ``[args, kwargs]``."""
    if len(args) == 1 and not kwargs:
        only = args[0]
        if isinstance(only, (bytes, bytearray, memoryview)):
            return Payload(bytes(only), OCTETS)
        if _is_array(only):
            return Payload(_npy(only), NPY, accept=NPY)
    try:
        body = json.dumps([list(args), dict(kwargs)], default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(
            f"the arguments cannot be sent as JSON: {error}",
            hint="Send bytes, numpy arrays, JSON values, dataclasses and pydantic models.",
        ) from error
    return Payload(body.encode(), ARGS_TYPE)


def encode_value(value: object) -> bytes:
    """One value as JSON, the way it travels in a call."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"{type(value).__name__} cannot be sent as JSON: {error}") from error


def decode_answer(body: bytes, content_type: str) -> Any:
    """The value of an answer, by its content type."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", JSON_TYPE) or media_type.endswith("+json"):
        return json.loads(body) if body else None
    if media_type.startswith("text/"):
        return body.decode("utf-8", "replace")
    if media_type == NPY and body.startswith(_NPY_MAGIC):
        import numpy

        return numpy.load(io.BytesIO(body), allow_pickle=False)
    return body


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")  # who holds an array has imported it
    return numpy is not None and isinstance(value, numpy.ndarray)


def _npy(array: Any) -> bytes:
    import numpy

    out = io.BytesIO()
    try:
        numpy.save(out, array, allow_pickle=False)
    except ValueError as error:
        raise InvalidArguments(f"the array cannot be sent: {error}", hint="Arrays of objects cannot travel.") from error
    return out.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return carried(value)
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")  # type: ignore[attr-defined]
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if _is_array(value):
        return value.tolist()  # type: ignore[attr-defined]
    item = getattr(value, "item", None)
    if type(value).__module__ == "numpy" and callable(item):
        return item()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")
