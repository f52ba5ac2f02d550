"""What a call costs in the HTTP front alone: bare uvicorn's ASGI echo beside the gateway with an in-process echo.

Both answer the same 64-byte JSON body over keep-alive connections; the load comes from another process (``wrk``
where it is installed, else a raw asyncio client). Rounds are interleaved, medians taken. Prints a Markdown table.

    python benchmarks/gateway_echo.py [--seconds 3] [--rounds 3] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

BODY = b'{"text": "an input of a size that is common for a function", "n": 1}'
SERVERS = ("bare uvicorn ASGI echo", "gateway, in-process echo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One round."""

    requests_per_s: float
    cpu_us_per_request: float
    p50_ms: float


def main() -> None:
    arguments = _arguments()
    if arguments.serve is not None:
        _serve(arguments.serve)
        return
    if arguments.load is not None:
        asyncio.run(_load(arguments.load, arguments.path, arguments.seconds, arguments.connections))
        return
    samples: dict[str, list[Sample]] = {name: [] for name in SERVERS}
    for _ in range(arguments.rounds):
        for name in SERVERS:
            samples[name].append(_round(name, arguments.seconds, arguments.connections))
    print(_table(samples))


def _table(samples: dict[str, list[Sample]]) -> str:
    base = statistics.median(sample.cpu_us_per_request for sample in samples[SERVERS[0]])
    rows = [
        "| front | requests/s | CPU µs a request | beside bare uvicorn | p50 ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, taken in samples.items():
        cpu_us = statistics.median(sample.cpu_us_per_request for sample in taken)
        rate = statistics.median(sample.requests_per_s for sample in taken)
        p50_ms = statistics.median(sample.p50_ms for sample in taken)
        rows.append(f"| {name} | {rate:,.0f} | {cpu_us:.1f} | {cpu_us / base:.2f} × | {p50_ms:.2f} |")
    return "\n".join(rows)


def _round(name: str, seconds: float, connections: int) -> Sample:
    server = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        path = "/echo" if name == SERVERS[0] else "/f/echo"
        _generate(port, path, 0.5, connections)
        before_s = _cpu_s(server.pid)
        requests, p50_ms = _generate(port, path, seconds, connections)
        cpu_s = _cpu_s(server.pid) - before_s
    finally:
        server.terminate()
        server.wait()
    return Sample(requests_per_s=requests / seconds, cpu_us_per_request=cpu_s / requests * 1e6, p50_ms=p50_ms)


def _generate(port: int, path: str, seconds: float, connections: int) -> tuple[int, float]:
    """Load for that long; requests answered and their median latency."""
    if shutil.which("wrk"):
        return _wrk(port, path, seconds, connections)
    command = [sys.executable, __file__, "--load", str(port), "--path", path]
    command += ["--seconds", str(seconds), "--connections", str(connections)]
    requests, p50_ms = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(requests), float(p50_ms)


def _wrk(port: int, path: str, seconds: float, connections: int) -> tuple[int, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            "wrk.method = 'POST'\n"
            f"wrk.body = '{BODY.decode()}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
            "wrk.headers['Authorization'] = 'Bearer benchmark'\n"
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", script.name]
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
        ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    requests = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", output).groups()  # type: ignore[union-attr]
    return requests, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(name: str) -> None:
    import uvicorn

    if name == SERVERS[0]:
        config = uvicorn.Config(_asgi_echo, http="httptools", loop="uvloop", lifespan="off", log_level="error", port=0)
    else:
        config = uvicorn.Config(
            _asgi_echo, http=_gateway_class(), loop="uvloop", lifespan="off", log_level="error", port=0
        )
    config.access_log = False
    config.configure_logging()
    sock = config.bind_socket()
    sock.listen(2048)
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    uvicorn.Server(config).run(sockets=[sock])


def _gateway_class() -> type[asyncio.Protocol]:
    from stoker_api.gateway.gateway import Gateway
    from stoker_api.gateway.ports import Access, Route
    from stoker_api.gateway.protocol import make_protocol_class
    from stoker_runtime.invocation import Invocation, Outcome

    class Echo:
        def submit(self, invocation: Invocation) -> None:
            invocation.finish(Outcome(invocation.body, invocation.content_type))

        def consumed(self, invocation: Invocation, chunks: int) -> None:
            pass

    class Rooms:
        def __init__(self) -> None:
            self.access = {b"benchmark": Access()}
            self.routes = {b"/f/echo": Route(namespace="default", name="echo", revision=1, dispatcher=Echo())}

        def authenticate(self, token: bytes | None, namespace: str) -> Access:
            assert token is not None
            return self.access[token]

        def resolve(self, path: bytes, sticky: bytes | None) -> Route:
            return self.routes[path]

    rooms = Rooms()
    return make_protocol_class(Gateway(rooms, rooms))


async def _asgi_echo(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Caller(asyncio.Protocol):
    """Sends the next request as soon as the answer is there."""

    def __init__(self, request: bytes, latencies_s: list[float], loop: asyncio.AbstractEventLoop) -> None:
        self.request, self.latencies_s, self.loop = request, latencies_s, loop
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(BODY):
            assert self.buffer.startswith(b"HTTP/1.1 200")
            self.buffer = b""
            self.latencies_s.append(self.loop.time() - self.sent_s)
            self._send()

    def _send(self) -> None:
        self.sent_s = self.loop.time()
        self.transport.write(self.request)


async def _load(port: int, path: str, seconds: float, connections: int) -> None:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer benchmark\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    loop = asyncio.get_running_loop()
    latencies_s: list[float] = []
    for _ in range(connections):
        await loop.create_connection(lambda: _Caller(request, latencies_s, loop), "127.0.0.1", port)
    await asyncio.sleep(seconds)
    print(len(latencies_s), statistics.median(latencies_s) * 1e3)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--path", default="/", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
