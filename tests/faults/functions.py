"""What runs while faults are injected: two honest functions, and one that does whatever harm it is asked to do."""

from __future__ import annotations

from typing import Final

from tests.support.running_platform import RunningPlatform

STEADY: Final = "import time\n\ndef steady(x):\n    time.sleep(0.003)\n    return x * 2\n"
ONCE: Final = STEADY.replace("steady", "once")
PAUSED: Final = "def paused(x):\n    return x\n"
ENDLESS: Final = "def endless(size):\n    while True:\n        yield 'x' * size\n"
HARMFUL: Final = """
import ctypes
import os
import signal
import sys
import threading


def harmful(how):
    return globals()[how]()


def segfault():
    ctypes.string_at(0)


def leave():
    os._exit(7)


def leak():
    kept = []
    while True:
        kept.append(os.urandom(1 << 20))


def fork():
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            while True:
                signal.pause()
        pids.append(pid)
    return pids


def spin():
    while True:
        pass


def flood():
    line = "x" * 1023 + "\\n"
    for _ in range(8 * 1024):
        sys.stdout.write(line)
    return "flooded"


def close_descriptors():
    os.closerange(3, 1024)
    return "closed"


def close_output():
    os.closerange(0, 3)
    print("into nothing")
    return "closed"


def write_everywhere():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\\xff\\xff\\xff\\x7f" * 40)
        except OSError:
            pass
    return "written"


def kill_everything():
    os.kill(-1, signal.SIGKILL)


def kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)
    return "survived"


def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    return "ignoring"


def raise_exit():
    raise SystemExit(3)


def raise_interrupt():
    raise KeyboardInterrupt


def recurse():
    return recurse()


def unprintable():
    class Bad(Exception):
        def __str__(self):
            raise ValueError

    raise Bad


def endless_answer():
    return object()
"""


SETTINGS: Final = {"pool_memory_sample_s": 0.05}


def deploy_all(platform: RunningPlatform) -> None:
    """Deploy them, warm."""
    many = {"max_attempts": 50}
    platform.deploy("steady", STEADY, idempotent=True, retries=many, scaling={"min_replicas": 1, "max_replicas": 2})
    platform.deploy("once", ONCE, scaling={"min_replicas": 1, "max_replicas": 2})
    platform.deploy("paused", PAUSED, timeout_s=0.7)
    platform.deploy("endless", ENDLESS)
    platform.deploy("leaky", HARMFUL, handler="harmful", memory_mib=128, scaling={"max_replicas": 1})
    platform.deploy("harmful", HARMFUL, timeout_s=0.7, scaling={"max_replicas": 1})
