"""A web server on the loopback that offers one file, with the manners and faults of real ones."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PIECE_BYTES = 64 * 1024


@dataclass
class DataServer:
    """What it does may be changed between two requests."""

    url: str
    """Of the folder; whatever is asked for beneath it is ``data``."""
    data: bytes = b""
    has_ranges: bool = True
    has_length: bool = True
    status: int = 200
    """Other than 200: it answers this and nothing else."""
    cut_after: int | None = None
    """The connection breaks when this byte of the file was sent."""
    etag: str = '"1"'
    gate: threading.Event = field(default_factory=threading.Event)
    """While it is not set, no body goes on behind ``hold_from``."""
    hold_from: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    """A body has stopped."""


@contextlib.contextmanager
def data_server(data: bytes = b"") -> Iterator[DataServer]:
    """On a free port, for a block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = DataServer(url=f"http://127.0.0.1:{server.server_port}/data/", data=data)
    found.gate.set()
    server.found = found  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who asked has left
            super().handle()

    def do_HEAD(self) -> None:
        self._answer(is_head=True)

    def do_GET(self) -> None:
        self._answer(is_head=False)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def _answer(self, *, is_head: bool) -> None:
        found: DataServer = self.server.found  # type: ignore[attr-defined]
        if found.status != 200:
            self.send_error(found.status)
            return
        first, part = 0, found.data
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")) if found.has_ranges else None
        if asked is not None:
            first, part = int(asked[1]), found.data[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(200 if asked is None else 206)
        self.send_header("ETag", found.etag)
        if asked is not None:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(found.data)}")
        if found.has_length:
            self.send_header("Content-Length", str(len(part)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if not is_head:
            self._send(found, first, part)

    def _send(self, found: DataServer, first: int, part: bytes) -> None:
        for at in range(0, len(part), _PIECE_BYTES):
            if found.cut_after is not None and first + at >= found.cut_after:
                self.close_connection = True
                return
            if first + at >= found.hold_from and not found.gate.is_set():
                found.stopped.set()
                found.gate.wait()
            piece = part[at : at + _PIECE_BYTES]
            self.wfile.write(piece if found.has_length else b"%x\r\n%s\r\n" % (len(piece), piece))
        if not found.has_length:
            self.wfile.write(b"0\r\n\r\n")
