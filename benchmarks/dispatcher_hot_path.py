"""What one call costs the platform between gateway and worker: CPU in dispatcher and link, over a real socket.

The worker is a process of its own that answers each frame at once, so its share is not counted. Run it with
``python benchmarks/dispatcher_hot_path.py``; it prints a Markdown table.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop

from stoker.options import Batch, FunctionOptions
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.frame_buffer import FrameBuffer
from stoker_runtime.frames import CallsHeader, FrameKind, ResultHeader, ResultsHeader, pack
from stoker_runtime.invocation import Invocation
from stoker_runtime.journal import Journal
from stoker_runtime.replica_link import ReplicaLink

_ROUNDS = 3


def echo_worker(sock: socket.socket) -> None:
    """Answer every CALLS frame with its own bodies, one RESULTS frame for each."""
    buffer = FrameBuffer()
    decode = msgspec.msgpack.Decoder(CallsHeader).decode
    while received := sock.recv_into(buffer.get_buffer()):
        for frame in buffer.buffer_updated(received):
            if frame.kind != FrameKind.CALLS:
                continue
            calls = decode(frame.header).calls
            results = [ResultHeader(call.call_id, 0, "", call.body_bytes, 500, 1000, 500, len(calls)) for call in calls]
            head, body = pack(FrameKind.RESULTS, ResultsHeader(results), frame.body)
            if len(body) < 65536:
                sock.sendall(head + bytes(body))
            else:
                sock.sendall(head)
                sock.sendall(body)


async def measure(options: FunctionOptions, body: bytes, in_flight: int, calls: int) -> tuple[float, float]:
    """(µs of CPU of this process per call, calls per second)."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            echo_worker(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.setblocking(False)
    link = await ReplicaLink.open(ours, "r1", concurrency=options.concurrency, journal=Journal())
    dispatcher = Dispatcher(options, 1)
    dispatcher.attach(link)
    left, ended = calls, asyncio.Event()
    open_calls = in_flight

    def on_done(invocation: Invocation) -> None:
        nonlocal left, open_calls
        if left > 0:
            left -= 1
            submit(on_done)
        else:
            open_calls -= 1
            if not open_calls:
                ended.set()

    def submit(done: Callable[[Invocation], None]) -> None:
        dispatcher.submit(Invocation(body, "", done))

    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(in_flight):
        submit(on_done)
    await ended.wait()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    link.close()
    await asyncio.sleep(0)
    os.waitpid(pid, 0)  # noqa: ASYNC222  # it leaves as its socket closes
    total = calls + in_flight
    return cpu_s / total * 1e6, total / wall_s


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    plain = FunctionOptions(name="echo")
    cases = [
        ("one call at a time", plain, b'{"x":1}', 1, calls // 6),
        ("64 calls in flight", plain, b'{"x":1}', 64, calls),
        ("64 in flight, idempotent: shared frames", FunctionOptions(name="echo", idempotent=True), b"{}", 64, calls),
        ("64 in flight, concurrency 64", FunctionOptions(name="echo", concurrency=64), b'{"x":1}', 64, calls),
        ("64 in flight, batches of 32", FunctionOptions(name="echo", batch=Batch()), b'{"x":1}', 64, calls),
        ("64 in flight, 1 KB", plain, b"x" * 1024, 64, calls),
        ("1 in flight, 1 MB", plain, b"x" * (1 << 20), 1, calls // 100),
    ]
    print("| case | µs CPU per call | calls/s |\n| --- | --- | --- |")
    for name, options, body, in_flight, count in cases:
        rounds = [uvloop.run(measure(options, body, in_flight, count)) for _ in range(_ROUNDS)]
        cpu_us = statistics.median(cpu for cpu, _ in rounds)
        rate = statistics.median(rate for _, rate in rounds)
        print(f"| {name} | {cpu_us:.1f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
