"""`stoker serve` as users start it: a process of its own on an empty data directory, for a `with` block."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

CLI = ("-m", "stoker.cli.main")


@dataclass(frozen=True, kw_only=True)
class ServedPlatform:
    """A running platform: how to reach it, and the CLI that finds it by itself."""

    url: str
    token: str
    python: str
    data_dir: Path
    pid: int

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `stoker ARGS`; fails the test with its output if it does not end with 0."""
        env = {**_clean_environment(), "STOKER_DATA_DIR": str(self.data_dir)}
        done = subprocess.run([self.python, *CLI, *args], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (
            f"stoker {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def client(self) -> httpx.Client:
        """An HTTP client with the first token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=120)


@contextlib.contextmanager
def served_platform(data_dir: Path, python: str = sys.executable, *extra_args: str) -> Iterator[ServedPlatform]:
    """Start, wait for the line that names the URL, yield, drain by SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, *CLI, "serve", "--port", str(port), "--data-dir", str(data_dir), *extra_args]
    server = subprocess.Popen(
        command, env=_clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    said: list[str] = []
    is_ready = threading.Event()

    def listen() -> None:
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if f"127.0.0.1:{port}" in line:
                is_ready.set()
        is_ready.set()

    ear = threading.Thread(target=listen, daemon=True)
    ear.start()
    try:
        is_ready.wait(60)
        assert server.poll() is None, "".join(said)
        token = json.loads((data_dir / "connection.json").read_text())["token"]
        url = f"http://127.0.0.1:{port}"
        yield ServedPlatform(url=url, token=token, python=python, data_dir=data_dir, pid=server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        ear.join(10)
        server.stdout.close()


def _clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("STOKER_")}
