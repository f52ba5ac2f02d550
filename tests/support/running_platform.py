"""A real `stoker serve` in a process of its own, for tests that do it harm: it can be killed and started again.

The rule that must not break: ``stop`` proves that nothing of the platform is left, and every wait is for an event (a
line, a pidfd) under a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

LIMIT_S = 30.0
_READY = "Stoker is ready: "


class RunningPlatform:
    """One platform on one data directory; ``start`` again after ``kill``."""

    def __init__(self, data_dir: Path, settings: Mapping[str, object] | None = None) -> None:
        self.data_dir = data_dir
        self._settings = {f"STOKER_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self.url = self.token = ""
        self.host, self.port = "127.0.0.1", 0

    # ---- life

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("STOKER_")}
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", "0", "--data-dir", str(self.data_dir)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=inherited | self._settings, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.url = self._first_url()
        self.port = int(self.url.rpartition(":")[2])
        self.token = json.loads((self.data_dir / "connection.json").read_text())["token"]

    def _first_url(self) -> str:
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            line = self.process.stdout.readline()
            if line.startswith(_READY):
                return line.removeprefix(_READY).strip()
            if not line:
                break
        self.kill()
        raise AssertionError(f"the platform did not start:\n{self.log_text()}")

    def stop(self) -> None:
        """Drain by SIGTERM; nothing may be left."""
        family = open_family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(LIMIT_S) == 0, self.log_text()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the platform:\n{self.log_text()}") from None
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
        assert_gone(family)
        left = [path for path in (self.data_dir / "work").rglob("*") if not path.is_dir()]
        assert not left, f"files left behind: {left}"

    def kill(self) -> None:
        """``kill -9``; whatever it had started must follow it."""
        family = open_family(self.process.pid)
        self.process.kill()
        self.process.wait(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert_gone(family)

    # ---- use

    def client(self, **more: object) -> httpx.Client:
        """An HTTP client with the first token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=LIMIT_S)

    def connect(self) -> socket.socket:
        """A raw connection."""
        return socket.create_connection((self.host, self.port), timeout=LIMIT_S)

    def deploy(self, name: str, source: str, **options: object) -> None:
        """Register ``name``, which ``source`` defines."""
        handler = options.pop("handler", name)
        with self.client() as client:
            body = {"name": name, "source": source, "handler": handler, "options": options}
            answer = client.post("/v1/functions", json=body)
        assert answer.status_code in (200, 201), answer.text

    def worker_pids(self, name: str) -> list[int]:
        """Processes of the ready replicas of a function."""
        with self.client() as client:
            replicas = client.get(f"/v1/functions/{name}").json()["replicas"]
        return [replica["pid"] for replica in replicas if replica["pid"]]

    def zygote_pids(self) -> list[int]:
        """Processes from which workers are forked."""
        return [pid for pid in children_of(self.process.pid) if "stoker_runtime.zygote" in command_of(pid)]

    def log_text(self) -> str:
        """What it said on standard error, in all its lives."""
        return self._log.read_text() if self._log.exists() else ""

    def faults(self) -> list[str]:
        """Events of its log that a fault of its own left there."""
        lines = [line for line in self.log_text().splitlines() if line != "Stopped."]
        return [line for line in lines if '"level": "error"' in line or '"traceback"' in line or line[:1] != "{"]


@contextlib.contextmanager
def running_platform(data_dir: Path, settings: Mapping[str, object] | None = None) -> Iterator[RunningPlatform]:
    """A platform for a block."""
    platform = RunningPlatform(data_dir, settings)
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()


def children_of(pid: int) -> list[int]:
    """Direct children, zombies too."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def open_family(pid: int) -> dict[int, int]:
    """A pidfd for each descendant of a process."""
    found: dict[int, int] = {}
    for child in children_of(pid):
        with contextlib.suppress(ProcessLookupError):
            found[child] = os.pidfd_open(child)
        found |= open_family(child)
    return found


def assert_gone(family: dict[int, int]) -> None:
    """Every process behind these pidfds has ended, or does so within the limit."""
    left: list[str] = []
    for pid, descriptor in family.items():
        if not select.select([descriptor], [], [], LIMIT_S)[0]:
            left.append(f"{pid} {command_of(pid)}")
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # orphans come to the test process, which is a subreaper
    assert not left, f"processes left behind: {left}"
