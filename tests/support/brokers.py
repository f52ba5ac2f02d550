"""Brokers from the system's packages, each a process of its own on a free port and an empty directory.

The rule that must not break: ``stop`` leaves no process; a broker that is not installed skips on a laptop and fails in
CI.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

LIMIT_S = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need(program: str, package: str) -> str:
    """Its path; skips on a laptop without it, fails in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/rabbitmq/bin")
    if found is None:
        assert not os.environ.get("CI"), f"{program} is not installed: apt-get install {package}"
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


@dataclass
class Broker:
    """One broker: ``start``, ``kill``, ``start`` again on the same data, ``stop``."""

    url: str
    command: list[str]
    ready: str
    """What it prints when it takes connections."""
    environment: dict[str, str] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    """A process that it needs."""
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)
    _ears: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Returns when it takes connections."""
        environment = {**os.environ, **self.environment}
        if self.beside:
            self._spawn(self.beside, environment)
        main = self._spawn(self.command, environment)
        said: list[str] = []
        is_ready = threading.Event()
        ear = threading.Thread(target=self._listen, args=(main, said, is_ready), daemon=True)
        ear.start()
        self._ears.append(ear)
        is_ready.wait(LIMIT_S)
        if not any(self.ready in line for line in said):
            self.kill()
            pytest.fail(f"{self.command[0]} did not start:\n{''.join(said)}")

    def _listen(self, process: subprocess.Popen[str], said: list[str], is_ready: threading.Event) -> None:
        """Read for as long as it speaks, so that it never waits for us."""
        assert process.stdout is not None
        for line in process.stdout:
            if not is_ready.is_set():
                said.append(line)
                if self.ready in line:
                    is_ready.set()
        is_ready.set()

    def kill(self) -> None:
        """At once, with all that it started."""
        for process in reversed(self._processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(LIMIT_S)
        for ear in self._ears:
            ear.join(LIMIT_S)
        for process in self._processes:
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        self._ears.clear()

    def freeze(self) -> None:
        """It answers nothing more, and its connections stay open."""
        os.killpg(self._processes[-1].pid, signal.SIGSTOP)

    def _spawn(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._processes.append(process)
        return process


def redis(folder: Path) -> Broker:
    """Redis with an append-only file."""
    port = free_port()
    program = need("redis-server", "redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always"]
    return Broker(url=f"redis://127.0.0.1:{port}/0", command=command, ready="Ready to accept connections")


def nats(folder: Path) -> Broker:
    """NATS with JetStream."""
    port = free_port()
    command = [need("nats-server", "nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    return Broker(url=f"nats://127.0.0.1:{port}", command=command, ready="Server is ready")


def rabbitmq(folder: Path) -> Broker:
    """RabbitMQ with a port mapper of its own, and without plugins."""
    program = need("rabbitmq-server", "rabbitmq-server")
    program = next((path for path in ("/usr/lib/rabbitmq/bin/rabbitmq-server",) if os.path.exists(path)), program)
    port, mapper = free_port(), free_port()
    environment = {
        "HOME": str(folder),  # of the cookie
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +A 8",
    }
    (folder / "plugins").write_text("[].\n")
    return Broker(
        url=f"amqp://guest:guest@127.0.0.1:{port}/",
        command=[program],
        ready="completed with",
        environment=environment,
        beside=[need("epmd", "erlang-base")],
    )


BROKERS: dict[str, Callable[[Path], Broker]] = {"redis": redis, "nats": nats, "rabbitmq": rabbitmq}
