"""Servers to be measured, started as processes of their own and stopped at the end of a ``with`` block."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BARE_APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass(frozen=True)
class Served:
    """One URL to load, the process whose tree serves it, and headers that a request needs."""

    url: str
    pid: int
    headers: tuple[str, ...] = ()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: list[str], ready: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start ``command``, wait for a line that holds ``ready``, stop it at the end."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
    )
    try:
        assert child.stdout is not None
        seen: list[str] = []
        for line in child.stdout:
            seen.append(line)
            if ready in line:
                break
        else:
            raise RuntimeError(f"{command[:4]} ended before it was ready:\n{''.join(seen)}")
        drain = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        with contextlib.suppress(UnboundLocalError):
            drain.wait(5)
        if child.stdout is not None:
            child.stdout.close()


@contextlib.contextmanager
def bare_uvicorn() -> Iterator[Served]:
    """uvicorn with httptools and uvloop around an ASGI app that echoes."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bare_app.py").write_text(BARE_APP)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "bare_app:app", "--app-dir", folder, "--port", str(port)]
        command += ["--no-access-log", "--http", "httptools", "--loop", "uvloop"]
        with process(command, "Uvicorn running") as child:
            yield Served(f"http://127.0.0.1:{port}/", child.pid)


@contextlib.contextmanager
def stoker_platform(
    sources: Mapping[str, str], options: Mapping[str, object], extra_args: tuple[str, ...] = ()
) -> Iterator[dict[str, Served]]:
    """``stoker serve`` on an empty data directory with ``sources`` (function name → Python source) registered."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", folder]
        with process([*command, *extra_args], f"127.0.0.1:{port}") as child:
            token = json.loads(Path(folder, "connection.json").read_text())["token"]
            header = f"Authorization: Bearer {token}"
            served = {}
            for name, source in sources.items():
                register(port, token, {"name": name, "source": source, "handler": name, "options": dict(options)})
                served[name] = Served(f"http://127.0.0.1:{port}/f/{name}", child.pid, (header,))
            yield served


def register(port: int, token: str, document: Mapping[str, object]) -> dict[str, object]:
    """``POST /v1/functions``, as curl would."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/functions",
        data=json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return dict(json.load(answer))
