"""The faults, each with the invariant that must hold under it. All draw from one seeded source of chance.

The rule that must not break: a fault ends only when the platform serves the function again that it hit.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import httpx

from tests.support.bounded_wait import wait_until
from tests.support.raw_http import request_bytes
from tests.support.running_platform import LIMIT_S, RunningPlatform, command_of, open_family

Fault = Callable[[RunningPlatform, random.Random], None]
HARM: Final[dict[str, tuple[int, str]]] = {
    "segfault": (502, "worker_lost"),
    "leave": (502, "worker_lost"),
    "leak": (502, "worker_lost"),
    "spin": (504, "deadline_exceeded"),
    "stop_itself": (504, "deadline_exceeded"),
    "raise_exit": (500, "function_error"),
    "raise_interrupt": (500, "function_error"),
    "recurse": (500, "function_error"),
    "unprintable": (500, "function_error"),
    "endless_answer": (500, "function_error"),
    "close_descriptors": (502, "worker_lost"),
    "flood": (200, ""),
    "kill_everything": (200, ""),
    "close_output": (200, ""),
    "ignore_signals": (200, ""),
}
"""What user code does, and how its call ends."""
MOST_LOG_BYTES: Final = 64 * 1024 * 1024


def harm(how: str) -> Fault:
    """User code does ``how``; its call ends as it must, and the next one works."""

    def inject(platform: RunningPlatform, chance: random.Random) -> None:
        name = "leaky" if how == "leak" else "harmful"
        answer = call(platform, name, {"how": how})
        status, code = HARM[how]
        assert answer.status_code == status, f"{how}: {answer.status_code} {answer.text[:500]}"
        if code:
            document = answer.json()
            assert (document["code"], bool(document["hint"])) == (code, True), document
        assert_serves(platform, name, {"how": "raise_exit"}, 500)

    return inject


def kill_worker(platform: RunningPlatform, chance: random.Random) -> None:
    """``kill -9`` of a worker of each honest function."""
    for name in ("steady", "once"):
        for pid in platform.worker_pids(name)[:1]:
            kill_and_wait(pid)
    assert_serves(platform, "steady", {"x": 1}, 200)


def kill_all_workers(platform: RunningPlatform, chance: random.Random) -> None:
    """All at once."""
    for pid in platform.worker_pids("steady") + platform.worker_pids("once"):
        kill_and_wait(pid)
    assert_serves(platform, "steady", {"x": 1}, 200)


def kill_zygote(platform: RunningPlatform, chance: random.Random) -> None:
    """``kill -9`` of what workers are forked from."""
    for pid in platform.zygote_pids():
        kill_and_wait(pid)
    assert_serves(platform, "steady", {"x": 1}, 200)
    assert_serves(platform, "paused", {"x": 1}, 200)


def pause_worker(platform: RunningPlatform, chance: random.Random) -> None:
    """SIGSTOP: the call ends with ``timeout_s``, and the worker is replaced."""
    assert_serves(platform, "paused", {"x": 1}, 200)
    paused = {pid: os.pidfd_open(pid) for pid in platform.worker_pids("paused")}
    for pid in paused:
        os.kill(pid, signal.SIGSTOP)
    answer = call(platform, "paused", {"x": 1})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded"), answer.text
    for pid, descriptor in paused.items():
        assert select.select([descriptor], [], [], LIMIT_S)[0], f"the stopped worker {pid} was not replaced"
        os.close(descriptor)
    assert_serves(platform, "paused", {"x": 1}, 200)


def write_into_descriptors(platform: RunningPlatform, chance: random.Random) -> None:
    """User code writes junk into every descriptor it finds, its way to the platform among them."""
    answer = call(platform, "harmful", {"how": "write_everywhere"})
    assert answer.status_code in (200, 502, 504), answer.text
    assert_serves(platform, "harmful", {"how": "raise_exit"}, 500)


def kill_parent(platform: RunningPlatform, chance: random.Random) -> None:
    """User code tries to kill the zygote: refused where workers have a user of their own."""
    answer = call(platform, "harmful", {"how": "kill_parent"})
    assert answer.status_code in (500, 502), answer.text
    assert_serves(platform, "harmful", {"how": "raise_exit"}, 500)


def fork_children(platform: RunningPlatform, chance: random.Random) -> None:
    """Children in sessions of their own end with the worker that forked them."""
    answer = call(platform, "harmful", {"how": "fork"})
    assert answer.status_code == 200, answer.text
    (worker,) = platform.worker_pids("harmful")
    family = open_family(worker)
    kill_and_wait(worker)
    for pid, descriptor in family.items():
        assert select.select([descriptor], [], [], LIMIT_S)[0], f"{pid} outlived its worker: {command_of(pid)}"
        os.close(descriptor)
    assert_serves(platform, "harmful", {"how": "raise_exit"}, 500)


def leave_midway(platform: RunningPlatform, chance: random.Random) -> None:
    """Clients that go away in the middle of a request or of an answer."""
    for name, body in (("steady", b'{"x": 1}'), ("endless", b'{"size": 1000}'), ("harmful", b'{"how": "spin"}')):
        data = request_bytes("POST", f"/f/{name}", {"Authorization": f"Bearer {platform.token}",
                                                    "Accept": "text/event-stream"}, body)  # fmt: skip
        for cut in (chance.randrange(1, len(data)), len(data)):
            with platform.connect() as connection:
                connection.sendall(data[:cut])
                if cut == len(data) and name == "endless":
                    connection.recv(1000)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert_idle(platform, "endless")
    assert_idle(platform, "harmful")


def read_slowly(platform: RunningPlatform, chance: random.Random) -> None:
    """A client that takes nothing of a stream without end: it is held back, and the platform's memory with it."""
    data = request_bytes("POST", "/f/endless", {"Authorization": f"Bearer {platform.token}",
                                                "Accept": "text/event-stream"}, b'{"size": 100000}')  # fmt: skip
    before = memory_bytes(platform)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(platform.connect()).sendall(data)
        for _ in range(20):
            assert_serves(platform, "steady", {"x": 1}, 200)
        assert memory_bytes(platform) - before < 100 * 1024 * 1024
    assert_idle(platform, "endless")


def flood_is_bounded(platform: RunningPlatform, chance: random.Random) -> None:
    """What functions print takes bounded room."""
    harm("flood")(platform, chance)
    total = sum(path.stat().st_size for path in (platform.data_dir / "logs").rglob("*") if path.is_file())
    assert total < MOST_LOG_BYTES


FAULTS: Final[dict[str, Fault]] = {
    "kill_worker": kill_worker,
    "kill_all_workers": kill_all_workers,
    "kill_zygote": kill_zygote,
    "pause_worker": pause_worker,
    "write_into_descriptors": write_into_descriptors,
    "kill_parent": kill_parent,
    "fork_children": fork_children,
    "leave_midway": leave_midway,
    "read_slowly": read_slowly,
    "flood_is_bounded": flood_is_bounded,
    **{how: harm(how) for how in HARM if how != "flood"},
}


def drawn(seed: int) -> Iterator[tuple[str, Fault, random.Random]]:
    """Faults without end, the same ones for the same seed."""
    chance = random.Random(seed)
    while True:
        name = chance.choice(sorted(FAULTS))
        yield name, FAULTS[name], chance


def call(platform: RunningPlatform, name: str, body: dict[str, object]) -> httpx.Response:
    """One call."""
    with platform.client() as client:
        return client.post(f"/f/{name}", json=body)


def assert_serves(platform: RunningPlatform, name: str, body: dict[str, object], status: int) -> None:
    """The function answers as it should, at once or after a cold start."""
    answer = call(platform, name, body)
    assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text[:500]}"


def assert_idle(platform: RunningPlatform, name: str) -> None:
    """Nothing of the calls of those who left is kept."""

    def is_idle() -> bool:
        with platform.client() as client:
            stats = client.get(f"/v1/functions/{name}").json()["stats"]
        return not stats["in_flight"] and not stats["queue_depth"]

    wait_until(is_idle, LIMIT_S, f"{name} to be idle")


def kill_and_wait(pid: int) -> None:
    """``kill -9``, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert select.select([descriptor], [], [], LIMIT_S)[0]
        os.close(descriptor)


def memory_bytes(platform: RunningPlatform) -> int:
    """Resident memory of the platform's own process."""
    with open(f"/proc/{platform.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
