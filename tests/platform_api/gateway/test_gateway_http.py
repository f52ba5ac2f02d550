"""HTTP itself, with raw sockets: what a client must not be able to break, and what it may rely on."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gateway_server import EchoDispatcher, post, running_gateway

from stoker_api.gateway.limits import GatewayLimits
from stoker_runtime.clock import monotonic_ns

SMALL = GatewayLimits(max_body_bytes=1000, max_upload_bytes=2000, max_header_bytes=4096, max_headers=20)
AN_HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GARBAGE\r\n\r\n", id="no request line"),
        pytest.param(b"POST /f/echo HTTP/9.9\r\n\r\n", id="unknown version"),
        pytest.param(b"POST /f/echo HTTP/1.1\r\nA b: c\r\n\r\n", id="space in a header name"),
        pytest.param(b"POST /f/echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"POST /f/echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1", id="two lengths"),
        pytest.param(
            b"POST /f/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            id="length beside chunks",
        ),
        pytest.param(b"POST /f/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk size"),
        pytest.param(b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n\x00\x01", id="connect"),
    ],
)
async def test_what_is_no_request_gets_a_problem_document_and_a_closed_connection(garbage: bytes) -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(garbage)
        answer = await peer.answer()
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert answer.json()["code"] == "bad_request"
        assert await peer.is_closed()
    assert server.dispatcher.seen == []


async def test_a_bad_request_does_not_overtake_the_answer_before_it() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1") + b"GARBAGE\r\n\r\n")
        await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        dispatcher.release()
        assert (await peer.answer()).body == b"1"
        assert (await peer.answer()).status == 400
        assert await peer.is_closed()


@pytest.mark.parametrize("step", [1, 2, 7, 50])
async def test_requests_may_come_in_pieces_of_any_size(step: int) -> None:
    data = post("/f/echo", b"hello", Content_Type="text/plain")
    async with running_gateway() as server, server.connect() as peer:
        peer.writer.get_extra_info("socket").setsockopt(6, 1, 1)
        for _ in range(2):
            for start in range(0, len(data), step):
                await peer.send(data[start : start + step])
            assert (await peer.answer()).body == b"hello"


async def test_pipelined_requests_are_answered_in_order() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(
            post("/f/echo", b"1") + post("/v1/functions", b"2") + post("/f/echo", b"3") + post("/f/echo", b"4")
        )
        await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        dispatcher.is_holding = False
        dispatcher.release()
        bodies = [(await peer.answer()).body for _ in range(4)]
    assert bodies == [b"1", b"POST /v1/functions 2", b"3", b"4"]


async def test_thousands_of_pipelined_requests_are_answered_without_recursion() -> None:
    count = 3000
    async with running_gateway() as server, server.connect() as peer:
        peer.writer.write(post("/f/missing", b"x") * count)
        statuses = [(await peer.answer()).status for _ in range(count)]
    assert statuses == [404] * count


async def test_a_chunked_body_is_put_together() -> None:
    head = b"POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running_gateway() as server:
        [answer] = await server.exchange(head + b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n")
    assert answer.body == b"abcdefg"


async def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with running_gateway(limits=SMALL) as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n")
        answer = await peer.answer()
        assert (answer.status, answer.json()["code"]) == (413, "payload_too_large")
        assert await peer.is_closed()


async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_sent() -> None:
    async with running_gateway(limits=SMALL) as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501 + b"\r\n")
        assert (await peer.answer()).status == 413
        assert await peer.is_closed()
    assert server.dispatcher.seen == []


@pytest.mark.parametrize("framing", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"])
async def test_uploads_to_the_app_have_their_own_limit(framing: bytes) -> None:
    async with running_gateway(limits=SMALL) as server, server.connect() as peer:
        await peer.send(b"POST /v1/functions HTTP/1.1\r\nHost: t\r\n" + framing + b"\r\n\r\n")
        if b"chunked" in framing:
            await peer.send(b"1388\r\n" + b"x" * 5000 + b"\r\n")
        assert (await peer.answer()).status == 413
        assert await peer.is_closed()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"A: " + b"x" * 5000 + b"\r\n", id="one long header"),
        pytest.param(b"".join(b"H%d: %b\r\n" % (n, b"x" * 300) for n in range(16)), id="long together"),
        pytest.param(b"".join(b"H%d: 1\r\n" % n for n in range(30)), id="too many"),
    ],
)
@pytest.mark.parametrize("path", [b"/f/echo", b"/v1/functions"])
async def test_headers_over_the_limit_are_refused(headers: bytes, path: bytes) -> None:
    async with running_gateway(limits=SMALL) as server, server.connect() as peer:
        await peer.send(b"POST " + path + b" HTTP/1.1\r\n" + headers + b"\r\n")
        answer = await peer.answer()
        assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")
        assert await peer.is_closed()


async def test_headers_without_an_end_are_refused_at_the_limit() -> None:
    async with running_gateway(limits=SMALL) as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.1\r\nA: ")
        await peer.send(b"x" * 5000)
        assert (await peer.answer()).status == 431
        assert await peer.is_closed()


async def test_100_continue_is_sent_once_the_call_is_known_to_be_possible() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await peer.head())[0] == 100
        await peer.send(b"42")
        assert (await peer.answer()).body == b"42"


async def test_100_continue_is_refused_for_a_call_that_cannot_be() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(b"POST /f/missing HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await peer.answer()).status == 404
        assert await peer.is_closed()


async def test_http_10_gets_its_answer_and_a_closed_connection() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(b"POST /f/echo HTTP/1.0\r\nContent-Length: 2\r\n\r\n42")
        answer = await peer.answer()
        assert (answer.body, answer.headers["connection"]) == (b"42", "close")
        assert await peer.is_closed()


async def test_connection_close_is_obeyed_and_what_follows_is_not_run() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", Connection="close") + post("/f/echo", b"2"))
        assert (await peer.answer()).headers["connection"] == "close"
        assert await peer.is_closed()
    assert len(server.dispatcher.seen) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_told_what_is_allowed(method: str) -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(f"{method} /f/echo HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        answer = await peer.answer(is_head=method == "HEAD")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        await peer.send(post("/f/echo", b"1"))
        assert (await peer.answer()).body == b"1"


async def test_an_offer_to_upgrade_is_declined_by_answering() -> None:
    async with running_gateway() as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c"))
        assert (await peer.answer()).body == b"1"


async def test_a_client_that_offers_to_upgrade_again_and_again_is_sent_away_without_recursion() -> None:
    async with running_gateway() as server, server.connect() as peer:
        peer.writer.write(post("/f/echo", b"1", Connection="Upgrade", Upgrade="h2c") * 2000)
        assert (await peer.answer()).body == b"1"
        assert (await peer.answer()).headers["connection"] == "close"
        assert await peer.is_closed()


async def test_an_idle_connection_is_closed_once_the_gateway_drains() -> None:
    async with running_gateway() as server, server.connect() as peer:
        server.gateway.drain()
        await peer.send(post("/v1/x"))
        assert (await peer.answer()).status == 200
        assert await peer.is_closed()


async def test_an_absolute_url_is_understood() -> None:
    async with running_gateway() as server:
        [answer] = await server.exchange(post("http://stoker.test/f/echo?x=1", b"1"))
    assert answer.body == b"1"


async def test_a_client_that_leaves_cancels_its_call() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server:
        async with server.connect() as peer:
            await peer.send(post("/f/echo", b"1"))
            await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        await asyncio.wait_for(dispatcher.left.wait(), 10)
        assert server.gateway.counters.disconnects == 1
        assert server.gateway.counters.in_flight == 0


async def test_a_client_that_leaves_in_the_midst_of_a_body_starts_nothing() -> None:
    async with running_gateway() as server:
        async with server.connect() as peer:
            await peer.send(b"POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123")
        [answer] = await server.exchange(post("/f/echo", b"1"))
        assert answer.status == 200
        assert len(server.dispatcher.seen) == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"POST /f/echo HTTP/1.1\r\nHost:", 408, id="half a head"),
        pytest.param(b"POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123", 408, id="half a body"),
        pytest.param(b"POST /v1/x HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123", 408, id="half an upload"),
        pytest.param(b"", None, id="nothing at all"),
    ],
)
async def test_a_peer_that_is_too_slow_is_sent_away(sent: bytes, status: int | None) -> None:
    async with running_gateway() as server, server.connect() as peer:
        async with server.connect() as other:
            await peer.send(sent)
            await other.send(post("/f/echo", b"1"))
            await other.answer()
        server.protocol.sweeper.sweep(monotonic_ns() + AN_HOUR_NS)
        if status is not None:
            answer = await peer.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert await peer.is_closed()


async def test_a_running_call_is_not_swept_away() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server, server.connect() as peer:
        await peer.send(post("/f/echo", b"1"))
        await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        server.protocol.sweeper.sweep(monotonic_ns() + AN_HOUR_NS)
        dispatcher.release()
        assert (await peer.answer()).status == 200


async def test_one_connection_too_many_is_told_so() -> None:
    async with running_gateway(limits=GatewayLimits(max_connections=2)) as server:
        async with server.connect() as first, server.connect() as second, server.connect() as third:
            for peer in (first, second):
                await peer.send(post("/f/echo", b"1"))
                assert (await peer.answer()).status == 200
            assert (await third.answer()).json()["code"] == "too_many_connections"
            assert await third.is_closed()
        [answer] = await server.exchange(post("/f/echo", b"1"))
        assert answer.status == 200


async def test_shutdown_lets_calls_in_flight_finish_and_takes_nothing_new() -> None:
    dispatcher = EchoDispatcher()
    dispatcher.is_holding = True
    async with running_gateway(dispatcher) as server, server.connect() as busy, server.connect() as idle:
        await idle.send(post("/v1/x"))
        await idle.answer()
        await busy.send(post("/f/echo", b"1"))
        await asyncio.wait_for(dispatcher.arrived.wait(), 10)
        server.server.should_exit = True
        assert await idle.is_closed()
        dispatcher.release()
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"1", "close")
        assert await busy.is_closed()


async def test_a_draining_gateway_refuses_new_calls_in_a_way_that_may_be_retried() -> None:
    async with running_gateway() as server, server.connect() as peer:
        server.gateway.drain()
        await peer.send(post("/f/echo", b"1"))
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.json()["code"] == "shutting_down"
        assert answer.json()["retryable"] is True
        assert answer.headers["retry-after"] == "1"
        assert await peer.is_closed()


async def test_a_large_answer_reaches_a_slow_reader_whole() -> None:
    body = bytes(range(256)) * 4 * 8192
    async with running_gateway() as server, server.connect() as peer:
        for _ in range(2):
            await peer.send(post("/f/echo", body, Content_Type="application/octet-stream"))
            assert (await peer.answer()).body == body
