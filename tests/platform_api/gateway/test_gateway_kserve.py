"""KServe's protocols, with the clients that people have: tritonclient[http] and kserve's own."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
import numpy as np
import pytest
from fastapi import FastAPI
from safetensors.numpy import load, save
from tests.support.gateway_server import EchoDispatcher, Running, post, running_gateway

from stoker.errors import FunctionError, NotFound
from stoker_api.gateway.infer_cycle import SAFETENSORS_TYPE
from stoker_api.gateway.kserve_v1 import kserve_v1_router
from stoker_api.gateway.kserve_v2 import kserve_v2_router
from stoker_api.gateway.ports import ModelInfo
from stoker_runtime.invocation import Invocation, Outcome

FLOAT_8 = b'\x38\0\0\0\0\0\0\0{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}\0'
SCHEMA = msgspec.json.encode(
    {
        "input": {
            "type": "object",
            "properties": {
                "x": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "who": {"$ref": "#/$defs/Who"},
            },
            "$defs": {"Who": {"type": "string"}},
        },
        "output": {"type": "array", "items": {"type": "integer"}},
    }
)


class Catalog:
    """One model."""

    def __init__(self) -> None:
        self.is_ready = True

    def models(self, namespace: str) -> Sequence[ModelInfo]:
        return [self.model(namespace, "double")]

    def model(self, namespace: str, name: str) -> ModelInfo:
        if name != "double":
            raise NotFound(f"no function {namespace}/{name}")
        return ModelInfo(namespace=namespace, name=name, revisions=(1, 2), is_ready=self.is_ready, schema_json=SCHEMA)

    async def load(self, namespace: str, name: str) -> None:
        self.model(namespace, name)
        self.is_ready = True

    async def unload(self, namespace: str, name: str) -> None:
        self.model(namespace, name)
        self.is_ready = False


def double(invocation: Invocation) -> Outcome:
    """What a worker would do with a function that doubles every number it gets."""
    if invocation.content_type == "application/x-safetensors":
        return Outcome(save({name: array + array for name, array in load(invocation.body).items()}), invocation.accept)
    value = msgspec.json.decode(invocation.body)
    if isinstance(value, dict):
        return Outcome(msgspec.json.encode({name: _twice(item) for name, item in value.items()}))
    return Outcome(msgspec.json.encode(_twice(value)))


def _twice(value: object) -> object:
    return [_twice(item) for item in value] if isinstance(value, list) else value + value  # type: ignore[operator]


def kserve_server(answer: object = double) -> AbstractAsyncContextManager[Running]:
    app = FastAPI()
    catalog = Catalog()
    app.include_router(kserve_v1_router(catalog))
    app.include_router(kserve_v2_router(catalog, version="1.0", is_ready=lambda: True))
    return running_gateway(EchoDispatcher(answer), app=app)  # type: ignore[arg-type]


async def test_v1_answers_each_instance_in_its_place() -> None:
    async with kserve_server() as server:
        [answer] = await server.exchange(post("/v1/models/double:predict", b'{"instances": [1, [2, 3], "a"]}'))
    assert answer.json() == {"predictions": [2, [4, 6], "aa"]}
    assert len(server.dispatcher.seen) == 3


async def test_v1_answers_stay_in_order_when_calls_end_out_of_order() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/v1/models/double:predict", b'{"instances": [1, 2, 3]}'))
        await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        dispatcher.held.reverse()
        dispatcher.release()
        assert (await peer.answer()).body == b'{"predictions":[1,2,3]}'


async def test_v1_tells_the_error_of_a_bad_instance() -> None:
    def fail_two(invocation: Invocation) -> Outcome:
        is_bad = invocation.body == b"2"
        return Outcome(error=FunctionError("two is bad")) if is_bad else Outcome(invocation.body)

    async with kserve_server(fail_two) as server:
        [answer] = await server.exchange(post("/v1/models/double:predict", b'{"instances": [1, 2, 3]}'))
    assert (answer.status, answer.json()["error"]) == (500, "two is bad")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"instances": 1}', b"{}", b'{"instances": [}', b"\xff"])
async def test_v1_refuses_what_is_no_predict_request(body: bytes) -> None:
    async with kserve_server() as server:
        [answer] = await server.exchange(post("/v1/models/double:predict", body))
    assert (answer.status, answer.json()["code"]) == (422, "invalid_arguments")


async def test_v1_no_instances_no_predictions() -> None:
    async with kserve_server() as server:
        [answer] = await server.exchange(post("/v1/models/double:predict", b'{"instances": []}'))
    assert answer.json() == {"predictions": []}


async def test_a_client_that_leaves_cancels_all_instances() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server:
        async with server.connect() as peer:
            await peer.send(post("/v1/models/double:predict", b'{"instances": [1, 2, 3]}'))
            await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        await asyncio.wait_for(dispatcher.left.wait(), 10)
        assert len(dispatcher.canceled) == 3
        assert server.gateway.counters.in_flight == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [-2], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP33", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BF16", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1000]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": ["a"]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8"}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "parameters": {"binary_data_size": 9}}]}',
    ],
)
async def test_v2_refuses_what_is_no_inference_request(body: bytes) -> None:
    async with kserve_server() as server:
        [answer] = await server.exchange(post("/v2/models/double/infer", body))
    assert (answer.status, answer.json()["code"]) == (422, "invalid_arguments")
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(b"", "application/x-safetensors"),
        Outcome(b"\x10\0\0\0\0\0\0\0{", "application/x-safetensors"),
        Outcome(
            b'\x40\0\0\0\0\0\0\0{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}        ', SAFETENSORS_TYPE
        ),
        Outcome(b"npy", "application/x-npy"),
        Outcome(b"{", ""),
        Outcome(b"\xff", "application/json"),
    ],
)
async def test_v2_says_so_when_a_result_can_be_no_tensor(outcome: Outcome) -> None:
    request = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}'
    async with kserve_server(lambda _: outcome) as server:
        [answer] = await server.exchange(post("/v2/models/double/infer", request))
    assert (answer.status, answer.json()["code"]) == (500, "invalid_response")


@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
async def test_tritonclient_sends_and_gets_every_datatype(dtype: str, is_binary: bool) -> None:
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    async with kserve_server() as server:
        result = await asyncio.to_thread(_triton_infer, server.port, array, is_binary)
    assert result.dtype == array.dtype
    assert (result == array + array).all()


async def test_tritonclient_sends_and_gets_half_precision_in_binary() -> None:
    array = np.array([1.5, -2.0], dtype="float16")
    async with kserve_server() as server:
        result = await asyncio.to_thread(_triton_infer, server.port, array, True)
    assert result.dtype == array.dtype
    assert (result == array * 2).all()


@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "json"])
async def test_tritonclient_sends_and_gets_strings(is_binary: bool) -> None:
    array = np.array([b"ab", "ü".encode()], dtype=np.object_)
    async with kserve_server() as server:
        result = await asyncio.to_thread(_triton_infer, server.port, array, is_binary)
    assert [item if isinstance(item, bytes) else item.encode() for item in result] == [b"abab", "üü".encode()]


async def test_tritonclient_sees_health_metadata_and_repository() -> None:
    def look(port: int) -> None:
        with _triton(port) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("double")
            assert client.is_model_ready("double", "2")
            assert not client.is_model_ready("nothing")
            assert client.get_server_metadata()["name"] == "stoker"
            metadata = client.get_model_metadata("double")
            assert metadata["versions"] == ["1", "2"]
            assert metadata["inputs"] == [
                {"name": "x", "datatype": "FP64", "shape": [-1, -1]},
                {"name": "who", "datatype": "BYTES", "shape": [1]},
            ]
            assert metadata["outputs"] == [{"name": "output_0", "datatype": "INT64", "shape": [-1]}]
            client.unload_model("double")
            assert not client.is_model_ready("double")
            client.load_model("double")
            assert client.get_model_repository_index()[0]["state"] == "READY"

    async with kserve_server() as server:
        await asyncio.to_thread(look, server.port)


async def test_tritonclient_is_told_why_a_call_failed() -> None:
    from tritonclient.utils import InferenceServerException

    def fail(invocation: Invocation) -> Outcome:
        return Outcome(error=FunctionError("ValueError: no such word"))

    async with kserve_server(fail) as server:
        with pytest.raises(InferenceServerException, match="no such word"):
            await asyncio.to_thread(_triton_infer, server.port, np.array([1]), True)


@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "json"])
async def test_kserves_client_infers_and_predicts(is_binary: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what kserve's own imports warn of
        from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    array = np.array([[1.0, 2.0]], dtype="float32")
    tensor = InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(array, binary_data=is_binary)
    async with kserve_server() as server:
        url = f"http://127.0.0.1:{server.port}"
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            assert await client.is_server_ready(url)
            assert await client.is_model_ready(url, "double")
            request = InferRequest(model_name="double", infer_inputs=[tensor])
            answer = await client.infer(url, request, model_name="double")
            assert answer.outputs[0].as_numpy().tolist() == [[2.0, 4.0]]
        async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
            assert await client.infer(url, {"instances": [1, 2]}, model_name="double") == {"predictions": [2, 4]}


def _triton(port: int):  # type: ignore[no-untyped-def]
    from tritonclient.http import InferenceServerClient

    return InferenceServerClient(f"127.0.0.1:{port}")


def _triton_infer(port: int, array: np.ndarray, is_binary: bool) -> np.ndarray:  # type: ignore[type-arg]
    from tritonclient.http import InferInput, InferRequestedOutput
    from tritonclient.utils import np_to_triton_dtype

    tensor = InferInput("x", list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array, binary_data=is_binary)
    with _triton(port) as client:
        result = client.infer("double", [tensor], outputs=[InferRequestedOutput("x", binary_data=is_binary)])
        return result.as_numpy("x")
