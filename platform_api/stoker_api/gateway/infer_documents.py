"""The v2 protocol's request and answer: a JSON document, with the binary tensors' bytes after it.

The rule that must not break: every byte of the body is accounted for, by the document or by a ``binary_data_size``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from stoker.errors import InvalidArguments
from stoker_api.gateway.answer import JSON_TYPE
from stoker_api.gateway.tensors import Tensor, tensor_from_values

_OCTETS = "application/octet-stream"
_LENGTH_HEADER = "inference-header-content-length"
_encode = msgspec.json.Encoder().encode


class InputDocument(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, object] | None = None
    data: object = None


class OutputDocument(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class RequestDocument(msgspec.Struct):
    inputs: list[InputDocument]
    id: str | None = None
    parameters: dict[str, object] | None = None
    outputs: list[OutputDocument] | None = None


_decode = msgspec.json.Decoder(RequestDocument).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """What the client asked for."""

    tensors: list[Tensor]
    id: str | None = None
    is_binary_wanted: bool = False
    outputs: dict[str, bool] | None = None
    """Wanted outputs, and which of them in binary; None = all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferAnswer:
    """What it gets."""

    model_name: str
    model_version: str
    tensors: list[Tensor] = field(default_factory=list)
    receipt: dict[str, object] | None = None


def read_infer_request(body: bytes, header_bytes: int | None) -> InferRequest:
    """Read a body whose JSON part has ``header_bytes`` (None: all of it); raises ``InvalidArguments``."""
    if header_bytes is not None and header_bytes > len(body):
        raise InvalidArguments(f"Inference-Header-Content-Length is {header_bytes}, the body has {len(body)} bytes")
    try:
        document = _decode(body if header_bytes is None else body[:header_bytes])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArguments(
            f"the body is no v2 inference request: {error}",
            hint='Send {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}.',
        ) from error
    binary = memoryview(body)[header_bytes if header_bytes is not None else len(body) :]
    tensors, position = [], 0
    for each in document.inputs:
        size = (each.parameters or {}).get("binary_data_size")
        if each.data is not None:
            tensors.append(tensor_from_values(each.name, each.datatype, each.shape, each.data))
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - position:
            raise InvalidArguments(
                f"input {each.name!r} has no data, and its binary_data_size is {size!r} of {len(binary) - position}"
            )
        data = bytes(binary[position : position + size])
        tensors.append(Tensor(each.name, each.datatype, tuple(each.shape), data))
        position += size
    if position != len(binary):
        raise InvalidArguments(f"the body has {len(binary) - position} bytes that belong to no input")
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise InvalidArguments(f"inputs must have different names, got {names}")
    is_binary = (document.parameters or {}).get("binary_data_output") is True
    outputs = None
    if document.outputs:
        outputs = {
            each.name: (each.parameters or {}).get("binary_data", is_binary) is True for each in document.outputs
        }
    return InferRequest(tensors=tensors, id=document.id, is_binary_wanted=is_binary, outputs=outputs)


def write_infer_answer(request: InferRequest, answer: InferAnswer) -> tuple[bytes, str, list[tuple[str, str]]]:
    """Body, content type and headers; raises ``InvalidArguments`` where a wanted output is not there."""
    tensors = answer.tensors
    if request.outputs is not None:
        by_name = {tensor.name: tensor for tensor in tensors}
        missing = [name for name in request.outputs if name not in by_name]
        if missing:
            raise InvalidArguments(f"the function has no output {missing[0]!r}", hint=f"It has {', '.join(by_name)}.")
        tensors = [by_name[name] for name in request.outputs]
    outputs, binary = [], []
    for tensor in tensors:
        entry: dict[str, object] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        is_binary = request.is_binary_wanted if request.outputs is None else request.outputs[tensor.name]
        if is_binary:
            entry["parameters"] = {"binary_data_size": len(tensor.data)}
            binary.append(tensor.data)
        else:
            entry["data"] = _json_data(tensor)
        outputs.append(entry)
    document: dict[str, object] = {"model_name": answer.model_name, "model_version": answer.model_version}
    if request.id is not None:
        document["id"] = request.id
    document["outputs"] = outputs
    if answer.receipt is not None:
        document["receipt"] = answer.receipt
    encoded = _encode(document)
    if not binary:
        return encoded, JSON_TYPE, []
    return b"".join([encoded, *binary]), _OCTETS, [(_LENGTH_HEADER, str(len(encoded)))]


def _json_data(tensor: Tensor) -> list[object]:
    if tensor.datatype != "BYTES":
        return list(tensor.values())
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in tensor.values()]
