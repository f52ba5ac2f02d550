"""Every parser of ours under arbitrary bytes: it answers, or refuses in the one way that its callers know."""

from __future__ import annotations

import contextlib
import json
import resource

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.bundle import build_source_bundle, read_manifest, read_source
from stoker.environment import check_environment
from stoker.errors import BundleTampered, InvalidInput, PlatformError, UnsupportedContent
from stoker.finding import Finding
from stoker.preflight import check_source, own_facts
from stoker.signing import bundle_sha256, new_private_key, public_key_of, sign, verify
from stoker.spec import environment_from_json, options_from_json, options_to_json
from stoker_api.gateway.head import read_head
from stoker_api.gateway.infer_documents import read_infer_request
from stoker_api.gateway.target import MalformedTarget, parse_target
from stoker_runtime.codec import ARROW_TYPES, NUMPY_TYPES, SAFETENSORS_TYPES, decode
from stoker_runtime.frame_buffer import BrokenFrame, Frame, FrameBuffer
from stoker_runtime.frames import MAX_FRAME_BYTES, CallHeader, CallsHeader, FrameKind, ResultHeader, pack
from stoker_runtime.outcomes import failed_outcome

SOUND_BUNDLE = build_source_bundle("def f(x):\n    return x\n")
KEY = new_private_key()
QUICK = settings(deadline=None, max_examples=60)
MANY = settings(deadline=None, max_examples=200)
FACTS = own_facts()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
CONTENT_TYPES = st.sampled_from(
    sorted(
        NUMPY_TYPES | ARROW_TYPES | SAFETENSORS_TYPES
        | {"", "application/json", "text/plain", "text/plain; charset=utf-16", "application/x-www-form-urlencoded",
           "multipart/form-data; boundary=b", "multipart/form-data"}
    )
) | st.text(st.characters(max_codepoint=255), max_size=60)  # fmt: skip


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a few changed, cut or doubled."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> bytes:
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 4))):
            position = draw(st.integers(0, max(len(changed) - 1, 0)))
            piece = draw(st.binary(max_size=6))
            changed[position : position + draw(st.integers(0, 8))] = piece
        return bytes(changed[: draw(st.integers(0, len(changed)))]) if draw(st.booleans()) else bytes(changed)

    return draw_one()


def a_stream() -> bytes:
    header = CallsHeader(
        calls=[CallHeader(call_id=number, content_type="", encoding=0, body_bytes=3) for number in range(2)],
        batched=False,
    )
    return b"".join(bytes(part) for _ in range(3) for part in pack(FrameKind.CALLS, header, b"{}1", b"{}2"))


def feed(data: bytes, pieces: list[int]) -> list[Frame]:
    """The frames in ``data``, received in pieces of these sizes."""
    buffer, frames, position = FrameBuffer(), [], 0
    sizes = iter(pieces)
    while position < len(data):
        room = buffer.get_buffer()
        assert len(room)
        piece = data[position : position + max(1, min(len(room), next(sizes, len(room))))]
        room[: len(piece)] = piece
        frames += buffer.buffer_updated(len(piece))
        position += len(piece)
    return frames


@given(data=st.binary(max_size=2000) | mutated(a_stream()), pieces=st.lists(st.integers(1, 400), max_size=20))
@QUICK
def test_frames(data: bytes, pieces: list[int]) -> None:
    with contextlib.suppress(BrokenFrame):
        for frame in feed(data, pieces):
            with contextlib.suppress(msgspec.MsgspecError):
                msgspec.msgpack.decode(frame.header, type=CallsHeader)


@given(pieces=st.lists(st.integers(1, 60), max_size=60))
@QUICK
def test_frames_do_not_depend_on_how_they_arrive(pieces: list[int]) -> None:
    expected = [(frame.kind, bytes(frame.header), bytes(frame.body)) for frame in feed(a_stream(), [])]
    assert [(frame.kind, bytes(frame.header), bytes(frame.body)) for frame in feed(a_stream(), pieces)] == expected
    assert len(expected) == 3


def test_a_length_that_is_only_claimed_costs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert feed(MAX_FRAME_BYTES.to_bytes(4, "little") + b"\0" * 100_000, []) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@given(body=st.binary(max_size=400), status=st.integers(-5, 300))
@QUICK
def test_errors_of_workers(body: bytes, status: int) -> None:
    header = ResultHeader(1, status, "", len(body), 0, 0, 0, 1)
    assert isinstance(failed_outcome(header, body).error, PlatformError)


@given(path=st.binary(max_size=120) | mutated(b"/n/default/f/echo@prod") | mutated(b"/v2/models/echo/infer"))
@QUICK
def test_targets(path: bytes) -> None:
    try:
        target = parse_target(path)
    except MalformedTarget:
        return
    if target is not None:
        assert target.name.isascii()
        assert "/" not in target.name + target.namespace
        assert "." not in target.name + target.namespace


HEADER_NAMES = [
    b"authorization", b"content-type", b"content-encoding", b"accept", b"expect", b"prefer", b"x-request-id",
    b"stoker-timeout-ms", b"stoker-priority", b"stoker-method", b"stoker-session", b"stoker-receipt",
    b"stoker-namespace", b"inference-header-content-length",
]  # fmt: skip


@given(
    headers=st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=60)), max_size=6),
    method=st.binary(max_size=8),
    query=st.binary(max_size=40),
)
@QUICK
def test_heads(headers: list[tuple[bytes, bytes]], method: bytes, query: bytes) -> None:
    for target in (None, parse_target(b"/f/echo"), parse_target(b"/v2/models/echo/infer")):
        head = read_head(target, method, query, headers, keep_alive=True, http_10=False)
        assert head.fault is None or 400 <= head.fault.status < 500


@given(data=st.binary(max_size=600) | mutated(SOUND_BUNDLE))
@MANY
def test_bundles(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        read_manifest(data)
        read_source(data)


@given(data=mutated(SOUND_BUNDLE))
@QUICK
def test_a_changed_bundle_is_never_verified(data: bytes) -> None:
    signature = sign(SOUND_BUNDLE, KEY)
    if data != SOUND_BUNDLE:
        with pytest.raises(BundleTampered):
            verify(data, signature, public_key_of(KEY), bundle_sha256(data))


@given(signature=st.binary(max_size=80), key=st.binary(max_size=40))
@QUICK
def test_signatures(signature: bytes, key: bytes) -> None:
    with pytest.raises(BundleTampered):
        verify(SOUND_BUNDLE, signature, key, bundle_sha256(SOUND_BUNDLE))


OPTION_NAMES = sorted(options_to_json(options_from_json("f", {})))


@given(name=st.text(max_size=8), data=st.dictionaries(st.sampled_from(OPTION_NAMES) | st.text(), JSON_VALUES))
@MANY
def test_options(name: str, data: dict[str, object]) -> None:
    with contextlib.suppress(InvalidInput):
        options = options_from_json(name, data)
        assert options_from_json(options.name, options_to_json(options)) == options or options.warmup is not None


@given(
    group=st.sampled_from(["batch", "scaling", "retries", "environment"]),
    values=st.lists(JSON_VALUES, min_size=6, max_size=6),
)
@MANY
def test_groups_of_options(group: str, values: list[object]) -> None:
    members = {
        "batch": ["max_batch_size", "batch_timeout_ms", "max_batch_cost", "cost_fn", "latency_target_ms"],
        "scaling": ["min_replicas", "max_replicas", "buffer_replicas", "target_concurrency", "keep_alive_s"],
        "retries": ["max_attempts", "initial_delay_s", "backoff", "max_delay_s", "on_function_error"],
        "environment": ["python_packages", "preload", "env", "files"],
    }[group]
    with contextlib.suppress(InvalidInput):
        options_from_json("f", {group: dict(zip(members, values, strict=False))})


@given(data=JSON_VALUES)
@QUICK
def test_environments(data: object) -> None:
    with contextlib.suppress(InvalidInput):
        check_environment(environment_from_json(data))


NPY = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }".ljust(117) + b"\n"
FORM = b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\n1\r\n--b--\r\n'


@given(body=st.binary(max_size=200) | mutated(NPY + b"\0" * 16) | mutated(FORM), content_type=CONTENT_TYPES)
@MANY
def test_bodies(body: bytes, content_type: str) -> None:
    with contextlib.suppress(InvalidInput, UnsupportedContent):
        decode(body, content_type)


@given(
    kind=st.sampled_from([*NUMPY_TYPES, *ARROW_TYPES, *SAFETENSORS_TYPES, "multipart/form-data; boundary=b"]),
    body=mutated(NPY + b"\0" * 16) | mutated(FORM) | st.binary(max_size=100),
)
@MANY
def test_bodies_of_binary_types(kind: str, body: bytes) -> None:
    with contextlib.suppress(InvalidInput, UnsupportedContent):
        decode(body, kind)


@given(data=JSON_VALUES, header_bytes=st.none() | st.integers(0, 200), tail=st.binary(max_size=40))
@QUICK
def test_inference_requests(data: object, header_bytes: int | None, tail: bytes) -> None:
    document = {"inputs": data if isinstance(data, list) else [data]}
    body = json.dumps(document, allow_nan=False, default=str).encode() if _is_finite(data) else tail
    with contextlib.suppress(InvalidInput):
        read_infer_request(body + tail, header_bytes)


INPUT = st.fixed_dictionaries(
    {
        "name": st.text(max_size=5),
        "shape": st.lists(st.integers(-3, 2**62), max_size=3),
        "datatype": st.sampled_from(["INT8", "UINT64", "FP16", "FP64", "BOOL", "BYTES", "X"]),
    },
    optional={
        "data": st.lists(JSON_VALUES, max_size=4),
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), st.integers(-5, 50) | st.text()),
    },
)


@given(inputs=st.lists(INPUT, max_size=3), tail=st.binary(max_size=40))
@MANY
def test_tensors(inputs: list[dict[str, object]], tail: bytes) -> None:
    head = msgspec.json.encode({"inputs": inputs})
    with contextlib.suppress(InvalidInput):
        read_infer_request(head + tail, len(head))


@given(
    source=st.text(max_size=80) | mutated(b"def f(x: int) -> int:\n    return x\n").map(lambda b: b.decode("latin-1"))
)
@QUICK
def test_sources(source: str) -> None:
    options = options_from_json("f", {})
    assert all(isinstance(item, Finding) for item in check_source(source, "f", options, FACTS))


def _is_finite(data: object) -> bool:
    try:
        json.dumps(data, allow_nan=False)
    except ValueError:
        return False
    return True
