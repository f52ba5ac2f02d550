"""A load generator in a process of its own: closed loop (N connections) or open loop (a fixed rate), one JSON line out.

Speaks HTTP/1.1 over raw asyncio protocols, so that on one core it costs less than the servers that it measures.
The rule that must not break: it stops by itself, and it only ever talks to loopback.

    python -m benchmarks.load_client --url http://127.0.0.1:8000/f/echo --connections 64 --duration-s 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

try:
    import uvloop
except ImportError:
    uvloop = None


AFTERMATH_S = 2
FINISH_LIMIT_S = 30.0


@dataclass
class Tally:
    """What came back. Latencies in seconds; ``(finished_at_s, latency_s)`` of good answers by the run's clock."""

    statuses: Counter[str] = field(default_factory=Counter)
    good: list[tuple[float, float]] = field(default_factory=list)
    bad_latency_s: list[float] = field(default_factory=list)
    aftermath: list[int] = field(default_factory=list)
    """Good answers in each second after an open loop's last request."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request out."""

    def __init__(self, request: bytes, tally: Tally, on_free: asyncio.Queue[Connection] | None, start_s: float) -> None:
        self._request = request
        self._tally = tally
        self._on_free = on_free
        self._start_s = start_s
        self._buffer = b""
        self._missing_bytes = 0
        self._status = ""
        self._sent_s = 0.0
        self.is_open = False
        self.stop = False
        self.stopped = asyncio.Event()
        self.pause_s = 0.0
        """Before it asks again after an answer that was no result."""
        self._transport: asyncio.Transport | None = None
        self.deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.is_open = True

    def send(self, sent_s: float | None = None, request: bytes | None = None) -> None:
        """Send the next request; its latency counts from ``sent_s``."""
        assert self._transport is not None
        self._sent_s = time.perf_counter() if sent_s is None else sent_s
        self._transport.write(request or self._request)

    def give_up(self) -> None:
        """The client's patience is over."""
        if self.is_open and self._transport is not None:
            self._tally.statuses["gave_up"] += 1
            self.is_open = False
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._missing_bytes:  # the rest of a large answer is counted, not kept
            self._missing_bytes -= len(data)
            if not self._missing_bytes:
                self._done(self._status)
            return
        self._buffer = data if not self._buffer else self._buffer + data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if at < 0 and b"transfer-encoding: chunked" in head and not self._buffer.endswith(b"0\r\n\r\n"):
            return
        self._status = self._buffer[9:12].decode()
        self._missing_bytes = max(head_end + 4 + length - len(self._buffer), 0)
        self._buffer = b""
        if not self._missing_bytes:
            self._done(self._status)

    def _done(self, status: str) -> None:
        now_s = time.perf_counter()
        self._tally.statuses[status] += 1
        if status.startswith("2"):
            self._tally.good.append((now_s - self._start_s, now_s - self._sent_s))
        else:
            self._tally.bad_latency_s.append(now_s - self._sent_s)
        if self.deadline is not None:
            self.deadline.cancel()
        if self.stop:
            self.stopped.set()
        elif self._on_free is None and self.pause_s and not status.startswith("2"):
            asyncio.get_running_loop().call_later(self.pause_s, self._again)
        elif self._on_free is None:
            self.send()
        else:
            self._on_free.put_nowait(self)

    def _again(self) -> None:
        if self.is_open and not self.stop:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stopped.set()
        if self.is_open:
            self.is_open = False
            self._tally.statuses["closed"] += 1
        if self._on_free is not None:
            self._on_free.put_nowait(self)


async def closed_loop(args: argparse.Namespace, request: bytes, address: tuple[str, int]) -> Tally:
    """Every connection sends its next request when the last one is answered."""
    tally = Tally()
    start_s = time.perf_counter()
    links = await _ask_again_and_again(args.connections, request, address, tally, start_s)
    await asyncio.sleep(args.duration_s)
    for link in links:
        link.stop = True
    if args.finish:
        await asyncio.wait([asyncio.ensure_future(link.stopped.wait()) for link in links], timeout=FINISH_LIMIT_S)
    return tally


async def _ask_again_and_again(
    count: int, request: bytes, address: tuple[str, int], tally: Tally, start_s: float, pause_s: float = 0.0
) -> list[Connection]:
    loop = asyncio.get_running_loop()
    links: list[Connection] = []
    for _ in range(count):
        _, link = await loop.create_connection(lambda: Connection(request, tally, None, start_s), *address)
        link.pause_s = pause_s
        links.append(link)
    for link in links:
        link.send()
    return links


async def aftermath(
    args: argparse.Namespace, request: bytes, address: tuple[str, int], tally: Tally, start_s: float
) -> None:
    """Callers that come at once after the overload; counts all results of the next seconds, theirs and what is left."""
    after = Tally()
    end_s = time.perf_counter() - start_s
    links = await _ask_again_and_again(args.aftermath_connections, request, address, after, start_s, 0.02)
    await asyncio.sleep(AFTERMATH_S)
    for link in links:
        link.stop = True
    seconds = Counter(int(at_s - end_s) for at_s, _ in (*tally.good, *after.good) if at_s >= end_s)
    tally.aftermath = [seconds[second] for second in range(AFTERMATH_S)]


async def open_loop(args: argparse.Namespace, request: bytes, address: tuple[str, int]) -> Tally:
    """Requests leave at ``--rate`` whatever comes back; a client that waits ``--patience-s`` gives up."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    start_s = time.perf_counter()
    idle: deque[Connection] = deque()
    pending: set[asyncio.Task[None]] = set()

    async def fire(due_s: float) -> None:
        link = None
        while idle and link is None:
            candidate = idle.popleft()
            link = candidate if candidate.is_open else None
        if link is None:
            try:
                _, link = await loop.create_connection(lambda: Connection(request, tally, free, start_s), *address)
            except OSError:
                tally.statuses["refused"] += 1
                return
        link.send(due_s)
        link.deadline = loop.call_later(args.patience_s, link.give_up)

    total = int(args.rate * args.duration_s)
    for number in range(total):
        due_s = start_s + number / args.rate
        delay_s = due_s - time.perf_counter()
        if delay_s > 0.0005:
            await asyncio.sleep(delay_s)
        while not free.empty():
            link = free.get_nowait()
            if link.is_open:
                idle.append(link)
        task = asyncio.ensure_future(fire(due_s))
        pending.add(task)
        task.add_done_callback(pending.discard)
    if args.aftermath_connections:
        await aftermath(args, request, address, tally, start_s)
    await asyncio.sleep(args.patience_s + 0.5)
    return tally


def summary(tally: Tally, duration_s: float, *, is_finished: bool) -> dict[str, object]:
    """The line that is printed. The rate of a run that waited for its last answers is over the time until the last."""
    latencies = sorted(latency_s for _, latency_s in tally.good)
    usage = resource.getrusage(resource.RUSAGE_SELF)

    def quantile_ms(share: float) -> float | None:
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1000 if latencies else None

    took_s = max(duration_s, max((at_s for at_s, _ in tally.good), default=0.0))
    per_second = Counter(int(at_s) for at_s, _ in tally.good)
    return {
        "good": len(latencies),
        "rate_per_s": len(latencies) / (took_s if is_finished else duration_s),
        "p50_ms": quantile_ms(0.50),
        "p90_ms": quantile_ms(0.90),
        "p99_ms": quantile_ms(0.99),
        "max_ms": latencies[-1] * 1000 if latencies else None,
        "statuses": dict(tally.statuses),
        "took_s": took_s,
        "aftermath_per_second": tally.aftermath,
        "good_per_second": [per_second[second] for second in range(max(per_second, default=-1) + 1)],
        "client_cpu_s": usage.ru_utime + usage.ru_stime,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", default="null")
    parser.add_argument("--body-file")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--duration-s", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0 = closed loop")
    parser.add_argument("--patience-s", type=float, default=5.0)
    parser.add_argument("--finish", action="store_true", help="closed loop: wait for what is out at the end")
    parser.add_argument("--aftermath-connections", type=int, default=0, help="open loop: callers right after it")
    args = parser.parse_args()
    parts = urlsplit(args.url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        parser.error(f"only loopback is ever loaded, got {parts.hostname}")
    body = Path(args.body_file).read_bytes() if args.body_file else args.body.encode()
    head = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    if not any(line.lower().startswith("content-type") for line in args.header):
        head.append("Content-Type: application/json")
    request = "\r\n".join([*head, *args.header, "", ""]).encode() + body
    run = open_loop if args.rate else closed_loop
    make_loop = asyncio.new_event_loop if uvloop is None else uvloop.new_event_loop
    loop = make_loop()
    tally = loop.run_until_complete(run(args, request, (parts.hostname, parts.port or 80)))
    print(json.dumps(summary(tally, args.duration_s, is_finished=args.finish)))


if __name__ == "__main__":
    main()
