"""The client against a platform of a few lines: what it sends, and what it makes of the answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from tests.support.fake_platform import FakePlatform, Reply, Request, fake_platform, json_reply

import stoker
from stoker import routes
from stoker.bundle import bundle_sha256, read_manifest
from stoker.call_request import CallTarget
from stoker.client import AsyncClient, Client
from stoker.connection import Connection, find_connection
from stoker.errors import (
    AccessDenied,
    InvalidArguments,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PlatformError,
    PreflightFailed,
    WorkerLost,
)
from stoker.payload import ARGS_TYPE, NPY, OCTETS, decode_answer, encode_call
from stoker.server_events import EventParser
from stoker.signing import verify

EVENTS = (
    b'event: phase\ndata: {"phase": "enter"}\n\n'
    b'event: item\ndata: 1\n\nevent: item\r\ndata: ["two",\r\ndata: "\xe2\x80\xa8"]\r\n\r\n'
    b'event: end\ndata: {"receipt": {"cold": true}}\n\n'
)
ITEMS = [1, ["two", "\u2028"]]


def answer(request: Request) -> Reply:
    path = request.path.partition("?")[0]
    if path == "/n/default/f/double" and request.headers.get("stoker-receipt"):
        return json_reply({"result": 4, "receipt": {"cold": False}})
    if path == "/n/default/f/double":
        args, kwargs = json.loads(request.body)
        return json_reply((args or [kwargs["x"]])[0] * 2)
    if path == "/n/default/f/echo":
        return Reply(request.body, content_type=request.headers["content-type"])
    if path == "/n/default/f/stream":
        return Reply(EVENTS, content_type="text/event-stream")
    if path == "/n/default/f/cut":
        return Reply(b"event: item\ndata: 1\n\nevent: item\ndata: 2\n", content_type="text/event-stream")
    if path == "/n/default/f/stream-error":
        problem = json.dumps({"code": "function_error", "error_type": "builtins.KeyError", "error_args": ["k"]})
        return Reply(f"event: item\ndata: 1\n\nevent: error\ndata: {problem}\n\n".encode())
    if path == "/n/default/f/busy":
        return json_reply({"code": "overloaded", "detail": "queue full", "hint": "wait"}, 429, retry_after="3")
    if path == "/n/default/f/fails":
        problem = {"code": "function_error", "detail": "ValueError: bad", "error_type": "builtins.ValueError"}
        return json_reply(
            {**problem, "error_message": "bad", "error_args": ["bad", 3], "traceback": "Traceback X"}, 500
        )
    if path == "/proxy-page":
        return Reply(b"<html>bad gateway", 502, content_type="text/html")
    if path == "/v1/functions" and request.verb == "POST":
        return json_reply({"name": "triple", "namespace": "default", "revision": 1, "url": "/f/triple"}, 201)
    if path == "/v1/info":
        return json_reply({"auth": request.headers.get("authorization")})
    return json_reply({"code": "not_found", "detail": f"no {path}", "phase": "route"}, 404)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakePlatform]:
    with fake_platform(answer) as running:
        monkeypatch.setenv("STOKER_URL", running.url)
        monkeypatch.setenv("STOKER_TOKEN", "secret-token")
        monkeypatch.setenv("STOKER_DATA_DIR", str(tmp_path))
        yield running


@pytest.fixture
def client(platform: FakePlatform) -> Iterator[Client]:
    with Client() as client:
        yield client


@stoker.function(name="double")
def double(x: int) -> int:
    return 2 * x


def test_remote_sends_arguments_and_returns_the_answer(platform: FakePlatform) -> None:
    assert double.remote(4) == double.remote(x=4) == 8
    request = platform.requests[0]
    assert (request.path, request.headers["content-type"]) == ("/n/default/f/double", ARGS_TYPE)
    assert json.loads(request.body) == [[4], {}]
    assert request.headers["authorization"] == "Bearer secret-token"


async def test_remote_async_does_the_same(platform: FakePlatform) -> None:
    assert await double.remote_async(4) == 8


def test_a_method_travels_in_a_header(platform: FakePlatform) -> None:
    stoker.Function.from_name("echo").encode.remote(b"raw")
    assert platform.requests[0].headers["stoker-method"] == "encode"


@pytest.mark.parametrize(("version", "at"), [(3, "@3"), ("prod", "@prod"), (None, "")])
def test_revision_and_alias_are_in_the_path(version: int | str | None, at: str) -> None:
    assert CallTarget(name="f", namespace="team", version=version).path == f"/n/team/f/f{at}"


def test_call_settings_travel_in_headers() -> None:
    target = CallTarget(name="f", timeout_s=1.5, priority="background", session="s")
    headers = target.headers(encode_call((1,), {}))
    assert headers["Stoker-Timeout-Ms"] == "1500"
    assert (headers["Stoker-Priority"], headers["Stoker-Session"]) == ("background", "s")


def test_bytes_and_arrays_are_sent_raw(platform: FakePlatform) -> None:
    echo = stoker.Function.from_name("echo")
    assert echo.remote(b"\x00\xff") == b"\x00\xff"
    array = numpy.arange(6, dtype="float32").reshape(2, 3)
    back = echo.remote(array)
    assert (back == array).all()
    assert back.dtype == array.dtype
    assert [request.headers["content-type"] for request in platform.requests] == [OCTETS, NPY]


def test_what_json_cannot_hold_is_told() -> None:
    for value in (float("nan"), object(), 1j):
        with pytest.raises(InvalidArguments, match="cannot be sent as JSON"):
            encode_call((value, 1), {})
    with pytest.raises(InvalidArguments, match="array cannot be sent"):
        encode_call((numpy.array([object()], dtype=object),), {})


def test_an_answer_is_read_by_its_type() -> None:
    assert decode_answer(b'{"a": 1}', "application/json; charset=utf-8") == {"a": 1}
    assert decode_answer(b"", "application/json") is None
    assert decode_answer(b"hi", "text/plain") == "hi"
    assert decode_answer(b"no array", NPY) == b"no array"
    assert decode_answer(b"\xff", "image/png") == b"\xff"


def test_a_receipt_comes_with_the_result(client: Client) -> None:
    assert client.call_with_receipt(CallTarget(name="double"), (2,)) == (4, {"cold": False})


def test_map_keeps_the_order(platform: FakePlatform) -> None:
    assert list(double.map(range(50), concurrency=8, progress=False)) == [2 * item for item in range(50)]


def test_a_stream_gives_items_phases_and_receipt(client: Client) -> None:
    phases: list[str] = []
    call = client.stream(CallTarget(name="stream"), on_phase=phases.append)
    assert list(call) == ITEMS
    assert (phases, call.receipt) == (["enter"], {"cold": True})


def test_events_may_come_byte_by_byte() -> None:
    parser = EventParser()
    events = [event for at in range(len(EVENTS)) for event in parser.feed(EVENTS[at : at + 1])]
    assert [event.name for event in events] == ["phase", "item", "item", "end"]


def test_a_cut_stream_is_an_error(platform: FakePlatform) -> None:
    call = stoker.Function.from_name("cut").stream()
    assert next(call) == 1
    with pytest.raises(WorkerLost, match="broke off"):
        next(call)


def test_an_error_ends_a_stream(platform: FakePlatform) -> None:
    call = stoker.Function.from_name("stream-error").stream()
    assert next(call) == 1
    with pytest.raises(KeyError, match="k"):
        next(call)


def test_a_refused_stream_is_its_problem(platform: FakePlatform) -> None:
    with pytest.raises(Overloaded):
        next(stoker.Function.from_name("busy").stream())


def test_a_stream_can_be_left(platform: FakePlatform) -> None:
    with stoker.Function.from_name("stream").stream() as call:
        assert next(call) == 1
    with pytest.raises(StopIteration):
        next(call)


async def test_streams_work_in_asyncio(platform: FakePlatform) -> None:
    assert [item async for item in stoker.Function.from_name("stream").stream_async()] == ITEMS
    with pytest.raises(WorkerLost):
        [item async for item in stoker.Function.from_name("cut").stream_async()]


def test_problems_become_errors_of_the_tree(platform: FakePlatform) -> None:
    with pytest.raises(Overloaded, match="queue full") as caught:
        stoker.Function.from_name("busy").remote(1)
    assert (caught.value.retry_after_s, caught.value.hint, caught.value.retryable) == (3.0, "wait", True)
    with pytest.raises(NotFound) as missing:
        stoker.Function.from_name("nothing").remote(1)
    assert missing.value.phase == "route"


def test_a_remote_exception_is_raised_as_itself(platform: FakePlatform) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        stoker.Function.from_name("fails").remote(1)
    assert caught.value.args == ("bad", 3)
    assert "Traceback X" in str(caught.value.__cause__)


def test_a_strangers_page_is_an_error_with_its_status(client: Client) -> None:
    with pytest.raises(WorkerLost, match=r"answered 502: <html>bad gateway"):
        client.request(routes.Route("GET", "/proxy-page"))


def test_nobody_at_home_is_told(platform: FakePlatform) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(NotReady, match="nothing answers") as caught:
        client.request(routes.info())
    assert "stoker serve" in str(caught.value)


async def test_the_async_client_manages_too(platform: FakePlatform) -> None:
    async with AsyncClient(platform.url, "t") as client:
        assert await client.request(routes.info()) == {"auth": "Bearer t"}


def test_deploy_sends_a_signed_bundle(platform: FakePlatform, tmp_path: Path) -> None:
    deployed = double.deploy()
    assert (deployed.name, deployed.revision, deployed.created) == ("triple", 1, True)
    request = platform.requests[0]
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = {part.split(b'name="')[1].split(b'"')[0]: part for part in request.body.split(b"--" + boundary)[1:-1]}
    spec = json.loads(parts[b"spec"].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
    bundle = parts[b"bundle"].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    assert (spec["name"], spec["handler"], spec["options"]["timeout_s"]) == ("double", "double", 300.0)
    assert read_manifest(bundle).kind == "pickle"
    verify(bundle, base64.b64decode(spec["signature"]), base64.b64decode(spec["public_key"]), bundle_sha256(bundle))
    assert (tmp_path / "deploy.key").exists()


def test_deploy_refuses_what_would_break_and_sends_nothing(platform: FakePlatform) -> None:
    @stoker.function(batch=stoker.Batch())
    def nothing() -> list[int]:
        return []

    with pytest.raises(PreflightFailed, match="takes no parameter"):
        nothing.deploy()
    assert platform.requests == []


def test_environment_variables_come_first(tmp_path: Path) -> None:
    path = tmp_path / "connection.json"
    path.write_text(json.dumps({"url": "http://local:1/", "token": "local"}))
    environ = {"STOKER_DATA_DIR": str(tmp_path)}
    assert find_connection(environ) == Connection("http://local:1", "local")
    assert find_connection({**environ, "STOKER_URL": "http://x/"}) == Connection("http://x", None)
    assert find_connection({**environ, "STOKER_URL": "http://local:1"}) == Connection("http://local:1", "local")
    assert find_connection({**environ, "STOKER_TOKEN": "t"}) == Connection("http://local:1", "t")
    assert "local'" not in repr(Connection("http://x", "local"))


def test_no_platform_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="stoker serve"):
        find_connection({"STOKER_DATA_DIR": str(tmp_path)})
    (tmp_path / "connection.json").write_text("{")
    with pytest.raises(NotFound, match="cannot be read"):
        find_connection({"STOKER_DATA_DIR": str(tmp_path)})


def test_every_error_of_the_tree_survives_the_journey() -> None:
    from stoker.remote_errors import error_of_problem

    def tree(cls: type[PlatformError]) -> Iterator[type[PlatformError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from tree(child)

    for cls in tree(PlatformError):
        if cls.__module__ == "stoker.errors" and cls.__name__ != "FunctionError":
            error = error_of_problem({"code": cls.code, "detail": "why", "phase": "x"})
            assert type(error) is cls


def test_details_of_problems_survive() -> None:
    from stoker.remote_errors import error_of_problem

    preflight = error_of_problem(
        {"code": "preflight_failed", "detail": "d", "findings": [{"code": "a", "message": "b", "fix": "c"}]}
    )
    assert isinstance(preflight, PreflightFailed)
    assert preflight.findings == (("a", "b", "c"),)
    invalid = error_of_problem({"code": "invalid_arguments", "detail": "d", "errors": [{"path": "x", "message": "m"}]})
    assert isinstance(invalid, InvalidArguments)
    assert invalid.errors == (("x", "m"),)
    assert type(error_of_problem({"code": "of the future", "detail": "d"})) is PlatformError
    assert isinstance(error_of_problem({"code": "unauthorized"}), AccessDenied)
    assert isinstance(error_of_problem({"code": "invalid_input"}), InvalidInput)
