"""Bytes that are no HTTP, or HTTP that never ends: refused, cut off, and nobody else is held up."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.support.raw_http import exchange, parse_answers, read_to_end, request_bytes
from tests.support.running_platform import RunningPlatform

LINE = b"POST /f/echo HTTP/1.1\r\nHost: a\r\n"
CONTROL_LINE = b"POST /v1/functions HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no-method": b" / HTTP/1.1\r\n\r\n",
    "no-version": b"POST /f/echo\r\n\r\n",
    "zeros": b"\x00" * 1000,
    "line-feed-in-header": LINE + b"A: b\nB c\r\n\r\n",
    "nul-in-header": LINE + b"A: \x00\r\n\r\n",
    "space-before-colon": LINE + b"Content-Length : 3\r\n\r\nabc",
    "folded-header": LINE + b"A: b\r\n c\r\n\r\n" + b"{",
    "negative-length": LINE + b"Content-Length: -1\r\n\r\n",
    "plus-length": LINE + b"Content-Length: +2\r\n\r\n{}",
    "hex-length": LINE + b"Content-Length: 0x2\r\n\r\n{}",
    "huge-length": LINE + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "two-lengths": LINE + b"Content-Length: 2\r\nContent-Length: 44\r\n\r\n{}" + SMUGGLED,
    "list-of-lengths": LINE + b"Content-Length: 2, 2\r\n\r\n{}",
    "length-and-chunks": LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks-and-length": LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "unknown-coding": LINE + b"Transfer-Encoding: gzip\r\n\r\n" + SMUGGLED,
    "chunked-not-last": LINE + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked-twice": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bad-chunk-size": LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "negative-chunk": LINE + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "huge-chunk": LINE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    "chunk-without-end": LINE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
    "control-length-and-chunks": CONTROL_LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "control-two-lengths": CONTROL_LINE + b"Content-Length: 2\r\nContent-Length: 44\r\n\r\n{}" + SMUGGLED,
}  # fmt: skip
BOMBS = {
    "one-long": b"A: " + b"x" * 100_000 + b"\r\n\r\n",
    "many": b"".join(b"H%d: x\r\n" % number for number in range(5000)) + b"\r\n",
    "without-end": b"A: " + b"x" * 1_000_000,
    "long-cookie": b"Cookie: " + b"a=b;" * 20_000 + b"\r\n\r\n",
}
SLOW = {
    "nothing-after-a-byte": b"P",
    "half-a-line": b"POST /f/ec",
    "half-a-head": LINE + b"A: b\r\n",
    "no-body": LINE + b"Content-Length: 10\r\n\r\n",
    "half-a-body": LINE + b"Content-Length: 10\r\n\r\n{",
    "chunks-without-end": LINE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "half-an-upload": CONTROL_LINE + b"Content-Length: 10\r\n\r\n{",
}


def converse(platform: RunningPlatform, data: bytes) -> bytes:
    with platform.connect() as connection:
        return exchange(connection, data)


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_request_is_refused_and_the_connection_closed(platform: RunningPlatform, name: str) -> None:
    answers = parse_answers(converse(platform, GARBAGE[name]))
    assert len(answers) == 1, "a second answer means that a request was smuggled"
    assert answers[0].status in (400, 401, 413, 415, 501)
    assert answers[0].problem["hint"]
    assert answers[0].headers["connection"] == "close"


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("line", [LINE, CONTROL_LINE], ids=["call", "control"])
def test_header_bombs_are_refused(platform: RunningPlatform, name: str, line: bytes) -> None:
    (answer,) = parse_answers(converse(platform, line + BOMBS[name]))
    assert (answer.status, answer.problem["code"]) == (431, "headers_too_large")


def test_a_long_target_is_refused(platform: RunningPlatform) -> None:
    (answer,) = parse_answers(converse(platform, b"POST /f/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert 400 <= answer.problem["status"] < 500  # type: ignore[operator]


@pytest.mark.parametrize("name", SLOW)
def test_slow_requests_are_cut_off(platform: RunningPlatform, name: str) -> None:
    data = converse(platform, SLOW[name])
    assert {answer.problem["code"] for answer in parse_answers(data)} <= {"request_timeout", "unauthorized"}


@pytest.mark.parametrize("path", ["/f/echo", "/v1/functions", "/v1/models/echo:predict", "/v2/models/echo/infer"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_huge_bodies_are_refused(platform: RunningPlatform, path: str, is_chunked: bool) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {platform.token}\r\n".encode()
    size = 3 * 1024 * 1024
    if is_chunked:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (65536, b" " * 65536) * (size // 65536)
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % size + b" " * size
    (answer,) = parse_answers(converse(platform, data))
    assert (answer.status, answer.problem["code"]) == (413, "payload_too_large")


def test_hundreds_of_idle_and_half_open_connections_hold_nobody_up(platform: RunningPlatform) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(platform.connect()) for _ in range(800)]
        for connection in idle[::2]:
            connection.sendall(b"POST /f/echo HTTP/1.1\r\nHost:")
        request = request_bytes("POST", "/f/echo", {"Authorization": f"Bearer {platform.token}"}, b'{"x": 1}')
        for _ in range(20):
            (answer,) = parse_answers(converse(platform, request))
            assert answer.body == b"1"
        refused = [read_to_end(connection) for connection in idle[::2]]
    assert all(parse_answers(data)[0].status == 408 for data in refused)


def test_resets_in_the_middle_of_everything_leave_nothing(platform: RunningPlatform) -> None:
    request = request_bytes("POST", "/f/streaming", {"Authorization": f"Bearer {platform.token}"}, b'{"n": 100000}')
    for cut in [*range(1, len(request), 23), len(request)]:
        with platform.connect() as connection:
            connection.sendall(request[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with platform.client() as client:
        stats = client.get("/v1/functions/streaming").json()["stats"]
    assert stats["queue_depth"] == 0
