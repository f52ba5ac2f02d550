"""Plain calls over HTTP: what goes in, what comes out."""

from __future__ import annotations

from tests.support.gateway_server import post, running_gateway


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


async def test_everything_else_goes_to_the_asgi_app() -> None:
    async with running_gateway() as server, server.connect() as peer:
        for path in ("/v1/functions", "/f", "/fx/echo", "/v1/models/echo", "/v2/models/echo"):
            await peer.send(post(path, b"body"))
            assert (await peer.answer()).body == f"POST {path} body".encode()
            await peer.send(post("/f/echo", b"1"))
            assert (await peer.answer()).body == b"1"
