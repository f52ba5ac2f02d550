"""The gateway's pure parts: targets, tensors, waits, metadata, metrics, OpenAPI."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from safetensors.numpy import load, save

from stoker.errors import InvalidArguments, PlatformError
from stoker_api.gateway.answer import checked_headers
from stoker_api.gateway.counters import GatewayCounters
from stoker_api.gateway.head import read_head
from stoker_api.gateway.infer_documents import read_infer_request
from stoker_api.gateway.limits import GatewayLimits
from stoker_api.gateway.metrics import GatewayCollector
from stoker_api.gateway.openapi import invoke_paths
from stoker_api.gateway.ports import ModelInfo
from stoker_api.gateway.request_head_cache import RequestHeadCache
from stoker_api.gateway.sweeper import ConnectionState, Verdict, verdict
from stoker_api.gateway.target import MalformedTarget, TargetKind, parse_target
from stoker_api.gateway.tensors import (
    Tensor,
    from_npy,
    from_safetensors,
    tensor_from_json,
    tensor_from_values,
    to_safetensors,
)

LIMITS = GatewayLimits()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))


@given(path=st.binary(max_size=60))
def test_any_path_is_a_target_or_the_apps_or_malformed(path: bytes) -> None:
    try:
        target = parse_target(b"/f/" + path)
    except MalformedTarget:
        return
    assert target is not None
    assert target.path.decode("ascii").startswith("/f/")


@given(path=st.text(alphabet="/fnv12models:predictinfer@%.a", max_size=40))
def test_what_is_routed_holds_nothing_but_names(path: str) -> None:
    try:
        target = parse_target(path.encode())
    except MalformedTarget:
        return
    assert target is None or ".." not in target.path.decode()


@given(headers=st.lists(st.tuples(st.sampled_from([b"accept", b"stoker-timeout-ms", b"prefer"]), st.binary())))
def test_any_header_value_is_read_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    target = parse_target(b"/f/echo")
    head = read_head(target, b"POST", b"", headers, keep_alive=True, http_10=False)
    assert head.fault is None or isinstance(head.fault, PlatformError)
    assert head.kind is TargetKind.INVOKE


@given(name=st.text(max_size=20), value=st.text(max_size=20))
def test_no_header_of_a_function_breaks_its_line(name: str, value: str) -> None:
    try:
        headers = checked_headers([(name, value)])
    except PlatformError:
        return
    line = "".join(f"{key}: {text}" for key, text in headers)
    assert "\r" not in line
    assert "\n" not in line


@given(value=JSON)
def test_any_json_result_becomes_a_tensor(value: object) -> None:
    tensor = tensor_from_json("output_0", value)
    assert math.prod(tensor.shape) == len(tensor.values())


@given(shape=st.lists(st.integers(-2, 4), max_size=3), value=JSON, datatype=st.sampled_from(["INT8", "FP16", "BYTES"]))
def test_any_json_data_becomes_a_tensor_or_is_refused(shape: list[int], value: object, datatype: str) -> None:
    try:
        tensor = tensor_from_values("x", datatype, shape, value)
    except InvalidArguments:
        return
    assert len(tensor.values()) == math.prod(shape)


@given(body=st.binary(max_size=80), header_bytes=st.none() | st.integers(0, 100))
def test_any_body_is_an_inference_request_or_is_refused(body: bytes, header_bytes: int | None) -> None:
    try:
        read_infer_request(body, header_bytes)
    except InvalidArguments:
        pass


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64"])
def test_safetensors_and_npy_are_those_of_their_libraries(dtype: str) -> None:
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    [tensor] = from_safetensors(save({"x": array}))
    assert load(to_safetensors([tensor]))["x"].tolist() == array.tolist()
    import io

    out = io.BytesIO()
    np.save(out, array)
    assert from_npy("x", out.getvalue()) == tensor


@pytest.mark.parametrize("data", [b"", b"\x01\x00\x00\x00", b"\x05\x00\x00\x00ab", b"\x01\x00\x00\x00abc"])
def test_strings_that_do_not_fit_their_tensor_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArguments):
        Tensor("x", "BYTES", (1,), data).values()


@pytest.mark.parametrize(
    ("state", "waited_s", "expected"),
    [
        (ConnectionState.IDLE, 70, Verdict.KEEP),
        (ConnectionState.IDLE, 80, Verdict.CLOSE),
        (ConnectionState.HEAD, 14, Verdict.KEEP),
        (ConnectionState.HEAD, 16, Verdict.REFUSE),
        (ConnectionState.BODY, 40, Verdict.KEEP),
        (ConnectionState.BODY, 100, Verdict.REFUSE),
        (ConnectionState.BUSY, 10**9, Verdict.KEEP),
        (ConnectionState.STALLED, 61, Verdict.ABORT),
        (ConnectionState.LINGERING, 3, Verdict.ABORT),
    ],
)
def test_every_wait_but_a_running_call_has_an_end(state: ConnectionState, waited_s: float, expected: Verdict) -> None:
    received_bytes = 16 * LIMITS.min_body_bytes_per_s
    found = verdict(state, waited_s=waited_s, received_bytes=received_bytes, unsent_bytes=0, limits=LIMITS)
    assert found is expected


def test_limits_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="max_headers must be > 0, got 0"):
        GatewayLimits(max_headers=0)


def test_the_head_cache_is_bounded_and_keeps_only_whole_heads() -> None:
    cache = RequestHeadCache()
    head = read_head(
        parse_target(b"/f/echo"), b"POST", b"", [(b"content-length", b"1")], keep_alive=True, http_10=False
    )
    cache.offer(b"POST /f/echo\r\n\r\n1POST", head, b"1")
    assert not cache.heads
    for number in range(2000):
        cache.offer(b"POST /f/echo %d\r\n\r\n1" % number, head, b"1")
    assert len(cache.heads) == 1024
    assert b"POST /f/echo 1999" in cache.heads


def test_metrics_say_what_was_counted() -> None:
    counters = GatewayCounters()
    counters.answered(429, 10)
    counters.plain_answers += 2
    registry = CollectorRegistry()
    registry.register(GatewayCollector(counters))
    text = generate_latest(registry).decode()
    assert 'stoker_gateway_requests_total{status="200"} 2.0' in text
    assert 'stoker_gateway_requests_total{status="429"} 1.0' in text


def test_openapi_shows_each_functions_own_schema() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "x": {"type": "integer"}}}
    schema = msgspec.json.encode({"input": {"$ref": "#/$defs/Node", "$defs": {"Node": node}}, "output": {}})
    here = ModelInfo(namespace="default", name="a", revisions=(1,), is_ready=True, schema_json=schema)
    there = ModelInfo(namespace="team", name="a", revisions=(1,), is_ready=True)
    paths = msgspec.json.decode(msgspec.json.encode(invoke_paths([here, there])))
    assert list(paths) == ["/f/a", "/n/team/f/a"]
    body = paths["/f/a"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"] == {"next": {}, "x": {"type": "integer"}}
