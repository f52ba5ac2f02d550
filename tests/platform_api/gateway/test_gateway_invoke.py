"""Plain calls over HTTP: what goes in, what comes out."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gateway_server import OWNER_TOKEN, TOKEN, EchoDispatcher, post, running_gateway

from stoker.errors import (
    CrashLooping,
    FunctionError,
    InvalidArguments,
    NoCapacity,
    Overloaded,
    PlatformError,
)
from stoker_api.gateway.problems import problem, problem_response
from stoker_runtime.frames import CallEncoding
from stoker_runtime.invocation import Invocation, Outcome, Priority

PROBLEM_MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "code",
    "phase",
    "retryable",
    "hint",
    "function",
    "request_id",
}


async def test_these_tests_run_on_the_platforms_loop() -> None:
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")


async def test_a_call_is_answered_with_the_functions_result() -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(post("/f/echo", b'{"x": 21}'))
    assert (answer.status, answer.body) == (200, b'{"x": 21}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server-timing"].startswith("total;dur=")
    assert answer.headers["x-request-id"]


async def test_a_connection_serves_call_after_call() -> None:
    async with running_gateway() as server, server.connect() as peer:
        for number in range(5):
            await peer.send(post("/f/echo", b"%d" % number))
            assert (await peer.answer()).body == b"%d" % number
    assert len(server.gateway.heads.heads) == 1
    assert server.gateway.counters.by_status() == {200: 5}
    assert len(server.rooms.ended) == 5


async def test_everything_else_goes_to_the_asgi_app() -> None:
    async with running_gateway() as server, server.connect() as peer:
        for path in ("/v1/functions", "/f", "/fx/echo", "/v1/models/echo", "/v2/models/echo", "/n/team/x"):
            await peer.send(post(path, b"body"))
            assert (await peer.answer()).body == f"POST {path} body".encode()
            await peer.send(post("/f/echo", b"1"))
            assert (await peer.answer()).body == b"1"


@pytest.mark.parametrize(
    ("path", "routed"),
    [
        ("/f/echo@prod", b"/f/echo@prod"),
        ("/f/echo%40prod", b"/f/echo@prod"),
        ("/f/echo@12?receipt=0", b"/f/echo@12"),
        ("/n/team/f/echo@3", b"/n/team/f/echo@3"),
        ("/v1/models/echo:predict", b"/f/echo"),
        ("/v2/models/echo/versions/3/infer", b"/f/echo@3"),
    ],
)
async def test_paths_lead_to_revisions_and_aliases(path: str, routed: bytes) -> None:
    async with running_gateway() as server:
        await server.exchange(post(path, b"1", Stoker_Session="me"))
    assert server.rooms.resolved == [(routed, b"me")]


@pytest.mark.parametrize(
    "path",
    ["/f/../v1/tokens", "/f/%2e%2e", "/f/Echo", "/f/", "/f/a/b", "/f/%C3%A4", "/f/echo@", "/n/../f/echo", "/f/a%00b"],
)
async def test_paths_whose_names_cannot_be_names_are_not_found(path: str) -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(post(path, b"1"))
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert server.rooms.resolved == []


async def test_what_the_headers_say_reaches_the_dispatcher() -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(
            post(
                "/f/echo",
                b"[[1], {}]",
                Stoker_Timeout_Ms="1500",
                Stoker_Priority="background",
                Stoker_Method="embed",
                X_Request_Id="abc-1",
                Content_Type="application/vnd.stoker.args+json",
                Accept="application/x-npy",
            )
        )
    [call] = server.dispatcher.seen
    assert call.deadline_ns == call.accepted_ns + 1_500_000_000
    assert (call.priority, call.method, call.request_id) == (Priority.BACKGROUND, "embed", "abc-1")
    assert (call.encoding, call.accept) == (CallEncoding.ARGS, "application/x-npy")
    assert answer.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Stoker-Timeout-Ms", "soon", "bad_request"),
        ("Stoker-Timeout-Ms", "0", "bad_request"),
        ("Stoker-Timeout-Ms", "-5", "bad_request"),
        ("Stoker-Timeout-Ms", "99999999999", "bad_request"),
        ("Stoker-Priority", "urgent", "bad_request"),
        ("Stoker-Method", "a b", "bad_request"),
        ("Prefer", "respond-async", "async_not_available"),
        ("Content-Encoding", "gzip", "unsupported_content_type"),
    ],
)
async def test_a_header_without_a_valid_value_is_refused(header: str, value: str, code: str) -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", **{header: value}))
        answer = await peer.answer()
        assert answer.json()["code"] == code
        assert answer.status in (400, 415)
        await peer.send(post("/f/echo", b"1"))
        assert (await peer.answer()).status == 200


async def test_a_request_id_that_could_harm_a_log_is_replaced() -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(post("/f/echo", b"1", X_Request_Id="a b<script>"))
    assert answer.headers["x-request-id"] != "a b<script>"


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_json_may_come_as_what_curl_calls_a_form(content_type: str) -> None:
    async with running_gateway() as server:
        await server.exchange(post("/f/echo", b"1", Content_Type=content_type))
    assert server.dispatcher.seen[0].content_type == ""


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/f/echo", None, 401),
        ("/f/missing", None, 401),
        ("/f/echo", "bad", 401),
        ("/f/echo", TOKEN, 200),
        ("/n/other/f/echo", TOKEN, 403),
    ],
)
async def test_a_call_needs_a_token_that_covers_it(path: str, token: str | None, status: int) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with running_gateway(is_auth_on=True) as server:
        [answer] = await server.exchange(post(path, b"1", **headers))
    assert answer.status == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_a_revoked_token_is_refused_on_an_open_connection() -> None:
    async with running_gateway(is_auth_on=True) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", Authorization=f"Bearer {TOKEN}"))
        assert (await peer.answer()).status == 200
        server.gateway.authenticator = _NobodyMay()
        await peer.send(post("/f/echo", b"1", Authorization=f"Bearer {TOKEN}"))
        assert (await peer.answer()).status == 401


@pytest.mark.parametrize("ask", [{"path": "/f/echo?receipt=1"}, {"Stoker-Receipt": "1"}])
async def test_a_receipt_comes_beside_the_result_when_asked_for(ask: dict[str, str]) -> None:
    headers = dict(ask)
    async with running_gateway() as server:
        [answer] = await server.exchange(post(headers.pop("path", "/f/echo"), b'{"a": 1}', **headers))
    document = answer.json()
    assert document["result"] == {"a": 1}
    receipt = document["receipt"]
    assert isinstance(receipt, dict)
    assert {"phases_ms", "cold", "batch_size", "replica", "revision", "request_id"} <= set(receipt)
    phases = receipt["phases_ms"]
    parts = ("queue", "cold", "batch", "decode", "execute", "encode")
    assert sum(phases[name] for name in parts) == pytest.approx(phases["total"], rel=0.01)


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Overloaded("full", retry_after_s=2.3), 429, {"retry-after": "3"}),
        (NoCapacity("no room"), 503, {"retry-after": "1"}),
        (InvalidArguments("wrong", errors=(("x", "must be a number"),)), 422, {}),
        (CrashLooping("3 failed starts", start_phase="enter", log_tail="secret"), 503, {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PlatformError) else None,
)
async def test_an_error_is_a_problem_document(error: PlatformError, status: int, headers: dict[str, str]) -> None:
    async with running_gateway(EchoDispatcher(lambda _: Outcome(error=error))) as server:
        [answer] = await server.exchange(post("/f/echo", b"1"))
    document = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert set(document) >= PROBLEM_MEMBERS
    assert (document["code"], document["function"]) == (error.code, "default/echo")
    assert document["request_id"] == answer.headers["x-request-id"]
    assert headers.items() <= answer.headers.items()
    assert "secret" not in answer.body.decode()
    assert answer.headers["server-timing"]


@pytest.mark.parametrize(("token", "is_shown"), [(TOKEN, False), (OWNER_TOKEN, True)])
async def test_only_the_owner_sees_the_traceback(token: str, is_shown: bool) -> None:
    error = FunctionError(
        "ValueError: bad",
        error_type="builtins.ValueError",
        error_message="bad",
        error_args=("bad",),
        remote_traceback="Traceback",
    )
    async with running_gateway(EchoDispatcher(lambda _: Outcome(error=error)), is_auth_on=True) as server:
        [answer] = await server.exchange(post("/f/echo", b"1", Authorization=f"Bearer {token}"))
    document = answer.json()
    assert (document["error_type"], document["error_args"]) == ("builtins.ValueError", ["bad"])
    assert ("traceback" in document) == is_shown


async def test_a_functions_own_status_and_headers_are_sent() -> None:
    def answer_so(_: Invocation) -> Outcome:
        headers = [("X-Model", "m1"), ("Content-Length", "999"), ("Connection", "close")]
        return Outcome(b"<p>", "text/html", http_status=202, headers=headers)

    async with running_gateway(EchoDispatcher(answer_so)) as server, server.connect() as peer:
        for _ in range(2):
            await peer.send(post("/f/echo", b"1"))
            answer = await peer.answer()
            assert (answer.status, answer.body, answer.headers["x-model"]) == (202, b"<p>", "m1")
            assert answer.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Outcome(b"1", headers=[("X-A", "1\r\nSet-Cookie: a=b")]), id="line break in a value"),
        pytest.param(Outcome(b"1", headers=[("X-A: b\r\nX", "1")]), id="line break in a name"),
        pytest.param(Outcome(b"1", headers=[("X-A", "€")]), id="no Latin-1"),
        pytest.param(Outcome(b"1", "text/plain\r\nX: y"), id="line break in the content type"),
        pytest.param(Outcome(b"1", http_status=99), id="no status"),
        pytest.param(Outcome(b"1", http_status=101), id="status of the protocol's"),
    ],
)
async def test_an_answer_that_http_cannot_carry_becomes_a_problem_document(outcome: Outcome) -> None:
    async with running_gateway(EchoDispatcher(lambda _: outcome)) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1"))
        answer = await peer.answer()
        assert (answer.status, answer.json()["code"]) == (500, "invalid_response")
        assert not {"set-cookie", "x"} & set(answer.headers)


async def test_an_answer_without_a_body_has_none() -> None:
    async with running_gateway(EchoDispatcher(lambda _: Outcome(b"", http_status=204))) as server:
        async with server.connect() as peer:
            for _ in range(2):
                await peer.send(post("/f/echo", b"1"))
                answer = await peer.answer()
                assert (answer.status, "content-length" in answer.headers) == (204, False)


async def test_a_fault_of_the_platform_tells_nothing_of_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    def break_down(_: Invocation) -> Outcome:
        raise RuntimeError("the secret inside")

    async with running_gateway(EchoDispatcher(break_down)) as server:
        [answer] = await server.exchange(post("/f/echo", b"1"))
    assert (answer.status, answer.json()["code"]) == (500, "internal")
    assert b"secret" not in answer.body
    assert "request failed" in caplog.text


def test_the_app_answers_errors_with_the_same_documents() -> None:
    error = Overloaded("full")
    response = problem_response(error, request_id="r1")
    assert (response.status_code, response.media_type) == (429, "application/problem+json")
    assert response.headers["retry-after"] == "1"
    assert set(problem(error, request_id="r1")) == PROBLEM_MEMBERS


class _NobodyMay:
    def authenticate(self, token: bytes | None, namespace: str):  # type: ignore[no-untyped-def]
        from stoker.errors import AccessDenied

        raise AccessDenied("revoked")
