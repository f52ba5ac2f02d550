"""HTTP in bytes: what no client library would let a test send, and what came back."""

from __future__ import annotations

import http.client
import io
import json
import socket
from dataclasses import dataclass
from typing import cast

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer, as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, object]:
        """The problem document; fails where the answer is none."""
        assert self.headers.get("content-type") == PROBLEM, f"{self.status} is no problem document: {self.body[:300]!r}"
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


class _Stream(io.BytesIO):
    """Bytes that stay open when ``http.client`` has read its answer: the next one follows."""

    def close(self) -> None:
        pass

    def makefile(self, mode: str) -> io.BytesIO:
        return self


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request with a Content-Length, that closes."""
    given = {"Host": "stoker", "Connection": "close", "Content-Length": str(len(body))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send ``data`` while reading, until the other side closes or the socket's time limit is over."""
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has refused before it read all; the refusal is still to be read
    return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """All that still comes."""
    received = bytearray()
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def parse_answers(data: bytes) -> list[RawAnswer]:
    """The answers in a stream of bytes; interim ones are left out."""
    answers: list[RawAnswer] = []
    stream = _Stream(data)
    while stream.tell() < len(data):
        answer = http.client.HTTPResponse(cast(socket.socket, stream))
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        answers.append(RawAnswer(answer.status, headers, answer.read()))
    return answers
