"""A real platform for tests: as a process of its own, or inside the test's loop.

The process is waited for by what it prints; a killed one can be started again on the same data directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from stoker_api.server import Started, running
from stoker_api.settings import PlatformSettings, ServerSettings

_READY = re.compile(r"http://\S+:\d+")
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 40.0


class PlatformProcess:
    """``stoker serve --port 0`` on one data directory."""

    def __init__(self, data_dir: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._args = args
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("STOKER_")} | (env or {})
        self._process: subprocess.Popen[str] | None = None
        self._ear: threading.Thread | None = None
        self.said: list[str] = []
        self._spoke = threading.Condition()
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def token(self) -> str:
        return str(json.loads((self.data_dir / "connection.json").read_text())["token"])

    def start(self) -> None:
        """Start, and return when it takes calls."""
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", "0", "--data-dir", str(self.data_dir)]
        self._process = subprocess.Popen(
            [*command, *self._args], env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        is_up = threading.Event()
        self._ear = threading.Thread(target=self._listen, args=(self._process, is_up), daemon=True)
        self.url = ""
        self._ear.start()
        assert is_up.wait(_START_LIMIT_S), "".join(self.said)
        assert self.url, "".join(self.said)

    def stop(self) -> int:
        """SIGTERM, and wait for its end; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to clean up."""
        self._end(signal.SIGKILL)

    def hear(self, words: str) -> None:
        """Return once it has printed ``words``."""
        with self._spoke:
            is_said = self._spoke.wait_for(lambda: any(words in line for line in self.said), _START_LIMIT_S)
        assert is_said, "".join(self.said)

    def client(self, token: str | None = None) -> httpx.Client:
        """An HTTP client with the first token, or another."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def cli(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``stoker ARGS`` as a user of this machine would."""
        env = self._env | {"STOKER_DATA_DIR": str(self.data_dir)}
        command = [sys.executable, "-m", "stoker.cli.main", *args]
        return subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    def _listen(self, process: subprocess.Popen[str], is_up: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._spoke:
                self.said.append(line)
                self._spoke.notify_all()
            found = _READY.search(line)
            if found is not None and not is_up.is_set():
                self.url = found[0]
                is_up.set()
        is_up.set()

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            code = process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not stop:\n{''.join(self.said)}") from None
        assert self._ear is not None
        self._ear.join(_STOP_LIMIT_S)
        assert process.stdout is not None
        process.stdout.close()
        return code


@contextlib.contextmanager
def platform_process(data_dir: Path, *args: str, env: dict[str, str] | None = None) -> Iterator[PlatformProcess]:
    """A platform that runs inside the block."""
    platform = PlatformProcess(data_dir, *args, env=env)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


@asynccontextmanager
async def platform_in_process(data_dir: Path) -> AsyncIterator[tuple[Started, httpx.AsyncClient]]:
    """The same in this loop, with a client for it."""
    settings = PlatformSettings(data_dir=data_dir, server=ServerSettings(port=0))
    async with running(settings) as (started, _):
        headers = {"Authorization": f"Bearer {started.token}"}
        async with httpx.AsyncClient(base_url=started.url, headers=headers, timeout=60, trust_env=False) as client:
            yield started, client


def source_spec(name: str, source: str, handler: str | None = None, **options: Any) -> dict[str, Any]:
    """The JSON of a registration by source."""
    return {"name": name, "source": source, "handler": handler or name, "options": options}


def register(
    client: httpx.Client, name: str, source: str, handler: str | None = None, **options: Any
) -> dict[str, Any]:
    """Register source; the answer's document. Fails the test on a refusal."""
    answer = client.post("/v1/functions", json=source_spec(name, source, handler, **options))
    assert answer.status_code in (200, 201), answer.text
    document: dict[str, Any] = answer.json()
    return document
