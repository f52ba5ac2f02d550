"""Turns a call's body into Python values, by its content type.

The rule that must not break: nothing is unpickled, ever, and a body that does not parse is the caller's fault
(``InvalidArguments``), never the worker's.

A body is one of: JSON (also what curl sends without a content type), text, a form (with files), numpy, Arrow,
safetensors; anything else arrives as the bytes that it is. Libraries are imported when their type first arrives.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from email.message import Message
from tokenize import TokenError
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from stoker.errors import InvalidArguments, UnsupportedContent

Body = bytes | bytearray | memoryview

NUMPY_TYPES: Final = frozenset({"application/x-npy", "application/vnd.numpy", "application/npy"})
ARROW_TYPES: Final = frozenset({"application/vnd.apache.arrow.stream"})
TENSORS_JSON: Final = "application/vnd.stoker.tensors+json"
"""Named tensors as nested lists: KServe's v2 protocol, where one is of strings."""
SAFETENSORS_TYPES: Final = frozenset({"application/x-safetensors", "application/vnd.safetensors"})
parse_json: Final = msgspec.json.Decoder().decode
"""Raises what msgspec raises, all of it ``ValueError`` but ``RecursionError``."""


class Upload(bytes):
    """A file of a form: its bytes, with the name and content type that the client gave."""

    filename: str
    content_type: str

    @classmethod
    def of(cls, data: bytes, filename: str, content_type: str) -> Upload:
        """The file ``filename`` with this content."""
        upload = cls(data)
        upload.filename = filename
        upload.content_type = content_type
        return upload


class TensorList(list[object]):
    """The values of a tensor; one value of shape [1] may be meant as that value."""


class Decoded(NamedTuple):
    """A value, and whether its keys are names (a JSON object, a form, a set of tensors) that may be parameters."""

    value: object
    has_names: bool


def decode(body: Body, content_type: str) -> Decoded:
    """The body's value; raises ``InvalidArguments`` or ``UnsupportedContent``."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == TENSORS_JSON:
        return _tensors(body)
    if media_type in ("", "application/json") or media_type.endswith("+json"):
        return decode_json(body)
    if media_type.startswith("text/"):
        return Decoded(_text(body, content_type), False)
    decoder = _DECODERS.get(media_type)
    if decoder is None:
        return Decoded(bytes(body), False)
    return decoder(body, content_type)


def decode_json(body: Body) -> Decoded:
    """A JSON body; an empty one is an empty object, so a function without parameters needs no body."""
    if not len(body):
        return Decoded({}, True)
    try:
        value = parse_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArguments(
            f"the body is not valid JSON: {error}",
            errors=(("", str(error)),),
            hint="Send JSON, or name another Content-Type.",
        ) from error
    except RecursionError as error:
        raise InvalidArguments("the body is nested too deeply", errors=(("", "nested too deeply"),)) from error
    return Decoded(value, type(value) is dict)


def _text(body: Body, content_type: str) -> str:
    charset = _parameter(content_type, "charset") or "utf-8"
    try:
        return bytes(body).decode(charset)
    except (LookupError, UnicodeError) as error:
        raise InvalidArguments(f"the body is not {charset} text: {error}", errors=(("", str(error)),)) from error


def _form(body: Body, content_type: str) -> Decoded:
    data = bytes(body)
    if data[:1] in b'{["-0123456789tfn':
        # curl -d sends JSON under this type when no Content-Type was given
        try:
            return decode_json(data)
        except InvalidArguments:
            pass
    try:
        pairs = parse_qsl(data.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(data), max_num_fields=1000)
    except ValueError as error:
        raise InvalidArguments(f"the form does not parse: {error}", errors=(("", str(error)),)) from error
    return Decoded(_gather([(name, value) for name, value in pairs]), True)


def _multipart(body: Body, content_type: str) -> Decoded:
    from python_multipart import FormParser  # no web framework behind it
    from python_multipart.exceptions import FormParserError

    boundary = _parameter(content_type, "boundary")
    if not boundary:
        raise InvalidArguments("multipart/form-data has no boundary", errors=(("", "no boundary"),))
    items: list[tuple[str, object]] = []

    def on_field(field: object) -> None:
        name = getattr(field, "field_name", None) or b""
        items.append(
            (name.decode("utf-8", "replace"), (getattr(field, "value", None) or b"").decode("utf-8", "replace"))
        )

    def on_file(file: object) -> None:
        name = getattr(file, "field_name", None) or b""
        stream = getattr(file, "file_object", None)
        assert stream is not None
        stream.seek(0)
        filename = (getattr(file, "file_name", None) or b"").decode("utf-8", "replace")
        kind = getattr(file, "content_type", None) or "application/octet-stream"
        items.append((name.decode("utf-8", "replace"), Upload.of(stream.read(), filename, str(kind))))
        stream.close()

    ends: list[bool] = []
    limit_bytes = max(len(body), 1)
    try:
        parser = FormParser(
            "multipart/form-data",
            on_field,
            on_file,
            on_end=lambda: ends.append(True),
            boundary=boundary.encode("latin-1"),
            config={"MAX_MEMORY_FILE_SIZE": limit_bytes, "MAX_BODY_SIZE": float("inf")},
        )
        parser.write(bytes(body))
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise InvalidArguments(f"the form does not parse: {error}", errors=(("", str(error)),)) from error
    if not ends:
        raise InvalidArguments("the form ends before its last boundary", errors=(("", "cut short"),))
    return Decoded(_gather(items), True)


def _numpy(body: Body, content_type: str) -> Decoded:
    try:
        import numpy
    except ImportError as error:
        raise _missing("numpy", content_type) from error
    try:
        return Decoded(_npy_in_place(body), False)
    except (ValueError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidArguments(f"the body is not an .npy array: {error}", errors=(("", str(error)),)) from error
    finally:
        del numpy


def _npy_in_place(body: Body) -> object:
    """The array over the body's own memory: a large one is not copied."""
    import numpy
    from numpy.lib import format as npy

    head = io.BytesIO(bytes(memoryview(body)[:65536]))
    version = npy.read_magic(head)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(head)
    if dtype.hasobject:
        raise ValueError("arrays of Python objects are refused")
    count = 1
    for size in shape:
        if size < 0:
            raise ValueError(f"the shape {shape} has a negative size")
        count *= size
    flat = numpy.frombuffer(body, dtype=dtype, count=count, offset=head.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _arrow(body: Body, content_type: str) -> Decoded:
    try:
        import pyarrow
        from pyarrow import ipc
    except ImportError as error:
        raise _missing("pyarrow", content_type) from error
    try:
        return Decoded(ipc.open_stream(pyarrow.py_buffer(body)).read_all(), False)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InvalidArguments(f"the body is not an Arrow stream: {error}", errors=(("", str(error)),)) from error


def _tensors(body: Body) -> Decoded:
    value = decode_json(body).value
    if not isinstance(value, dict):
        raise InvalidArguments("tensors must be an object of names", errors=(("", "must be an object"),))
    return Decoded({name: TensorList(item) if type(item) is list else item for name, item in value.items()}, True)


def _safetensors(body: Body, content_type: str) -> Decoded:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise _missing("safetensors", content_type) from error
    try:
        return Decoded(load(bytes(body)), True)
    except (SafetensorError, ValueError) as error:
        raise InvalidArguments(f"the body is no safetensors file: {error}", errors=(("", str(error)),)) from error


_DECODERS: Final[dict[str, Callable[[Body, str], Decoded]]] = {
    "application/x-www-form-urlencoded": _form,
    "multipart/form-data": _multipart,
    **dict.fromkeys(NUMPY_TYPES, _numpy),
    **dict.fromkeys(ARROW_TYPES, _arrow),
    **dict.fromkeys(SAFETENSORS_TYPES, _safetensors),
}


def _gather(items: list[tuple[str, object]]) -> dict[str, object]:
    """Fields by name; a repeated one becomes a list."""
    grouped: dict[str, list[object]] = {}
    for name, value in items:
        grouped.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in grouped.items()}


def _parameter(content_type: str, name: str) -> str | None:
    message = Message()
    message["content-type"] = content_type
    value = message.get_param(name)
    return value if isinstance(value, str) else None


def _missing(package: str, content_type: str) -> UnsupportedContent:
    return UnsupportedContent(
        f"content type {content_type!r} needs {package}, which the function's environment lacks",
        hint=f"Add {package!r} to the environment's python_packages.",
    )
