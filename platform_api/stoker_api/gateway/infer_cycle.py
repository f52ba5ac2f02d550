"""KServe's v2 protocol (Open Inference Protocol): named tensors in, named tensors out, as JSON or binary.

A request is one invocation: each input is a parameter. Numeric tensors travel to the worker as safetensors (numpy
arrays there), so no byte is reinterpreted on the way; where one is of strings, all go as JSON lists.
The rule that must not break: a datatype that cannot be carried is refused by name, never converted.
"""

from __future__ import annotations

import struct

import msgspec

from stoker.errors import InvalidArguments, PlatformError
from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.infer_documents import InferAnswer, InferRequest, read_infer_request, write_infer_answer
from stoker_api.gateway.ports import Route
from stoker_api.gateway.receipts import receipt, server_timing
from stoker_api.gateway.refusals import InvalidAnswer
from stoker_api.gateway.tensors import (
    Tensor,
    from_npy,
    from_safetensors,
    nested,
    tensor_from_json,
    to_safetensors,
)
from stoker_runtime.codec import TENSORS_JSON
from stoker_runtime.invocation import Invocation, Outcome

SAFETENSORS_TYPE = "application/x-safetensors"
_DEFAULT_OUTPUT = "output_0"


class InferCycle(InvokeCycle):
    """``POST /v2/models/{name}[/versions/{version}]/infer``."""

    __slots__ = ("_request",)

    def begin(self, route: Route) -> None:
        self._request: InferRequest = read_infer_request(self.body, self.head.inference_header_bytes)
        body, content_type = worker_body(self._request.tensors)
        invocation = self.new_invocation(body, content_type, self._on_infer_done)
        is_text_only = all(tensor.datatype == "BYTES" for tensor in self._request.tensors)
        invocation.accept = "" if is_text_only else SAFETENSORS_TYPE
        self._invocation = invocation
        self._connection.gateway.counters.in_flight += 1
        route.dispatcher.submit(invocation)

    def _on_infer_done(self, invocation: Invocation) -> None:
        outcome = self.observe(invocation)
        if self.disconnected:
            return
        if outcome.error is not None:
            self.refuse(outcome.error)
            return
        try:
            answer = InferAnswer(
                model_name=self.head.name,
                model_version=str(invocation.revision_number or (self._route.revision if self._route else 0)),
                tensors=checked_tensors(outcome),
                receipt=receipt(invocation) if self.head.wants_receipt else None,
            )
            body, content_type, headers = write_infer_answer(self._request, answer)
            self.answer(200, body, content_type, server_timing(invocation), headers)
        except PlatformError as error:
            self.refuse(error)


def worker_body(tensors: list[Tensor]) -> tuple[bytes, str]:
    """The inputs as a body that the worker's codec takes, and its content type."""
    if all(tensor.datatype != "BYTES" for tensor in tensors) and tensors:
        return to_safetensors(tensors), SAFETENSORS_TYPE
    return msgspec.json.encode({tensor.name: _json_value(tensor) for tensor in tensors}), TENSORS_JSON


def checked_tensors(outcome: Outcome) -> list[Tensor]:
    """The result as tensors; raises ``InvalidAnswer`` where it cannot be any."""
    try:
        return result_tensors(outcome)
    except (PlatformError, msgspec.MsgspecError, struct.error, ValueError, LookupError, SyntaxError) as error:
        raise InvalidAnswer(
            f"the function's result cannot be sent as tensors: {error}",
            hint="Return arrays, numbers, strings, or a mapping of names to those.",
        ) from error


def result_tensors(outcome: Outcome) -> list[Tensor]:
    """The function's result as tensors: a mapping's entries by name, anything else as ``output_0``."""
    body = bytes(outcome.body)
    media = outcome.content_type.partition(";")[0]
    if media in (SAFETENSORS_TYPE, "application/vnd.safetensors"):
        return from_safetensors(body)
    if media in ("application/x-npy", "application/vnd.numpy", "application/npy"):
        return [from_npy(_DEFAULT_OUTPUT, body)]
    if media and media != "application/json":
        return [tensor_from_json(_DEFAULT_OUTPUT, body)]
    value = msgspec.json.decode(body)
    if isinstance(value, dict) and value:
        return [tensor_from_json(name, item) for name, item in value.items()]
    return [tensor_from_json(_DEFAULT_OUTPUT, value)]


def _json_value(tensor: Tensor) -> object:
    values = tensor.values()
    if tensor.datatype == "BYTES":
        try:
            values = [item.decode() if isinstance(item, bytes) else item for item in values]
        except UnicodeDecodeError as error:
            raise InvalidArguments(
                f"tensor {tensor.name!r} holds bytes that are no UTF-8",
                hint="Send binary data as UINT8, or call /f/{name} with the bytes as the body.",
            ) from error
    return nested(values, tensor.shape)
