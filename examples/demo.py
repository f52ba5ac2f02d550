"""`make demo`: a real model behind a URL, its cold start, its batches, and its way to zero and back, in minutes.

Starts a platform of its own on a free port with an empty data directory, deploys `02_embeddings.py`, searches the
handbook in `data/`, and ends with a summary. The rule: when it ends, however it ends, no process and no file of it
is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from operator import mul
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PASSAGES = (HERE / "data/handbook.txt").read_text().splitlines()
QUESTIONS = (
    "How do I keep a boiler ready without burning much fuel?",
    "the gauge shows no water, what now?",
    "several machines all want power at the same moment",
)
BURST_CALLS = 512
CALLERS = 64
KEEP_ALIVE_S = 2.0
START_PHASES = ("place", "zygote", "fork", "verify", "unpickle", "enter", "warmup")
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Answer:
    """One call: its result, its receipt, and how long the caller waited."""

    result: list[float]
    receipt: dict[str, Any]
    took_ms: float

    @property
    def is_cold(self) -> bool:
        """Whether the call waited for a replica to start."""
        return bool(self.receipt["cold"])

    @property
    def phases_ms(self) -> dict[str, float]:
        """Where the time went."""
        return dict(self.receipt["phases_ms"])


@contextlib.contextmanager
def platform() -> Iterator[tuple[str, dict[str, str]]]:
    """`stoker serve` in a process of its own: its URL, and the variables by which the CLI finds it."""
    with tempfile.TemporaryDirectory(prefix="stoker-demo-") as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        env = {**os.environ, "STOKER_DATA_DIR": folder}
        env.pop("STOKER_URL", None)
        env.pop("STOKER_TOKEN", None)
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", folder]
        log = Path(folder, "serve.log")
        with log.open("wb") as out:
            server = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            _await_ready(f"http://127.0.0.1:{port}/readyz", server, log)
            yield f"http://127.0.0.1:{port}", env
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


class Caller:
    """Plain HTTP, as any client speaks it; each thread keeps a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        self._address = url.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._own = threading.local()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        """One request; the JSON of its answer. Ends the demo if it is refused."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(self._address, timeout=120)
        self._own.connection.request(method, path, json.dumps(body), {**self._headers, **headers})
        with self._own.connection.getresponse() as reply:
            text = reply.read()
        if reply.status >= 400:
            raise SystemExit(f"{method} {path} was refused: {reply.status} {text.decode()}")
        return dict(json.loads(text))

    def embed(self, text: str) -> Answer:
        """One call with its receipt."""
        began = time.perf_counter()
        document = self.ask("POST", "/f/embed", {"text": text}, **{"Stoker-Receipt": "1"})
        return Answer(document["result"], document["receipt"], (time.perf_counter() - began) * 1000)

    def embed_all(self, texts: list[str]) -> tuple[list[Answer], float]:
        """Many at once, as so many callers would; answers in order, and the seconds it took."""
        began = time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(self.embed, texts))
        return answers, time.perf_counter() - began

    def replicas(self) -> int:
        """How many replicas there are now."""
        return len(self.ask("GET", "/v1/functions/embed")["replicas"])

    def until_zero(self) -> float:
        """Watch the function until its last replica is gone; seconds waited."""
        began = time.perf_counter()
        while self.replicas():
            if time.perf_counter() - began > 60:
                raise SystemExit("the function did not scale to zero within a minute")
            time.sleep(0.1)
        return time.perf_counter() - began


def show_receipt(title: str, answer: Answer) -> None:
    """Phases of one call, longest bars for the dearest."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 1))
    phases = {name: ms for name, ms in answer.phases_ms.items() if name != "total" and ms >= 0.005}
    longest = max(phases.values(), default=1.0)
    for name, ms in phases.items():
        table.add_row(
            f"  {'· ' if name in START_PHASES else ''}{name}",
            f"{ms:9.2f} ms",
            "[red]" + "█" * max(1, round(30 * ms / longest)) + "[/red]",
        )
    table.add_row("  [bold]caller waited", f"[bold]{answer.took_ms:9.2f} ms", "")
    console.print(table)


def show_search(question: str, asked: Answer, index: list[Answer]) -> None:
    """The two nearest passages."""
    scores = [sum(map(mul, asked.result, item.result)) for item in index]
    ranked = sorted(zip(scores, PASSAGES, strict=True), reverse=True)
    console.print(f"[bold]{question}[/bold]  [dim]({asked.took_ms:.1f} ms)[/dim]")
    for score, passage in ranked[:2]:
        console.print(f"  {score:.2f}  {passage}")


def tour(url: str, env: dict[str, str]) -> Table:
    """Deploy, search, burst, to zero and back; returns the summary."""
    console.rule("Deploy: the platform builds the environment, checks the function, runs it once")
    began = time.perf_counter()
    deploy = [sys.executable, "-m", "stoker.cli.main", "deploy", str(HERE / "02_embeddings.py")]
    subprocess.run(deploy, env=env, check=True)
    deploy_s = time.perf_counter() - began
    caller = Caller(url, json.loads(Path(env["STOKER_DATA_DIR"], "connection.json").read_text())["token"])

    console.rule(f"Search: {len(PASSAGES)} passages, each embedded by its own HTTP call")
    first = caller.embed(PASSAGES[0])
    index, index_s = caller.embed_all(PASSAGES)
    for question in QUESTIONS:
        show_search(question, caller.embed(question), index)

    console.rule(f"Burst: {BURST_CALLS} calls from {CALLERS} callers at once, grouped as they queue")
    answers, burst_s = caller.embed_all([PASSAGES[n % len(PASSAGES)] for n in range(BURST_CALLS)])
    sizes = Counter(int(answer.receipt["batch_size"]) for answer in answers)
    for size, calls in sorted(sizes.items()):
        console.print(
            f"  {calls:4} calls ran in batches of {size:2}  [cyan]{'█' * max(1, 40 * calls // BURST_CALLS)}[/cyan]"
        )
    warm = caller.embed("a warm call")
    show_receipt("Receipt of a warm call", warm)

    console.rule(f"To zero: keep-alive is set to {KEEP_ALIVE_S:g} s, and nobody calls")
    caller.ask("PUT", "/v1/functions/embed/scaling", {"keep_alive_s": KEEP_ALIVE_S})
    zero_s = caller.until_zero()
    console.print(f"  after {zero_s:.1f} s: {caller.replicas()} replicas, no worker, nothing to pay for")

    console.rule("And back: the next call starts a replica and is answered by it")
    cold = caller.embed("a cold call")
    show_receipt("Receipt of a cold call", cold)

    summary = Table(title="Summary", show_header=False)
    summary.add_row("deploy: environment built, checked, run once", f"{deploy_s:.1f} s")
    summary.add_row(f"first call after deploy ({'cold' if first.is_cold else 'warm'})", f"{first.took_ms:.0f} ms")
    summary.add_row(f"index of {len(PASSAGES)} passages", f"{index_s:.2f} s")
    summary.add_row("burst, calls per second", f"{BURST_CALLS / burst_s:.0f}")
    summary.add_row("burst, largest batch", str(max(sizes)))
    summary.add_row("warm call", f"{warm.took_ms:.1f} ms")
    summary.add_row("cold call from zero replicas", f"{cold.took_ms:.0f} ms")
    if not cold.is_cold or warm.is_cold:
        raise SystemExit(f"the receipts do not fit: warm call {warm.receipt}, cold call {cold.receipt}")
    return summary


def main() -> None:
    """Start, show, stop."""
    console.rule("[bold]Stoker: a function, a URL, and nothing running while nobody calls")
    with platform() as (url, env):
        console.print(f"  stoker serve is ready at {url}")
        summary = tour(url, env)
    console.print(summary)
    console.print("The platform has stopped; nothing of it is left. Next: README.md, examples/, `stoker serve`.")


def _await_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        with contextlib.suppress(URLError), urlopen(url):
            return
        time.sleep(0.05)
    raise SystemExit(f"stoker serve did not start:\n{log.read_text()}")


if __name__ == "__main__":
    main()
