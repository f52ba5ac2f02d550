"""What every rival serves, in one place, so that only the servers differ: each work takes a list and gives a list.

The embedding is the class of examples/02_embeddings.py itself, with decorators that do nothing. The rule: nothing here
knows a server, and nothing is imported but the standard library until a work is made, for this file runs in the
environment of each peer.

    python works.py TEXT SECONDS      texts/s of the bare model in batches of 32, CPU µs for each
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/02_embeddings.py"
WORK_MS = 4
Work = Callable[[list[object]], list[object]]


def echo(items: list[object]) -> list[object]:
    """Nothing: what is left is the server."""
    return items


def spin(items: list[object]) -> list[object]:
    """A fixed time of one core for each item."""
    until = time.perf_counter() + WORK_MS / 1000 * len(items)
    while time.perf_counter() < until:
        pass
    return items


def score(items: list[object]) -> list[object]:
    """A model whose time is a + b per item and that raises for its whole batch when it meets a bad item."""
    until = time.perf_counter() + 0.004 + 0.0005 * len(items)
    while time.perf_counter() < until:
        pass
    if any(item < 0 for item in items):
        raise ValueError("a negative item")
    return [item * 2 for item in items]


def embed() -> Work:
    """The example's class, loaded."""

    class Anything:
        def __init__(self, *args: object, **options: object) -> None:
            pass

    def keep(target: object = None, **options: object) -> object:
        return keep if target is None else target

    stub = types.ModuleType("stoker")
    stub.Environment = stub.Batch = stub.Scaling = Anything
    stub.function = stub.method = stub.enter = stub.exit = keep
    sys.modules["stoker"] = stub
    scope: dict[str, object] = {"__name__": "example"}
    exec(compile(EXAMPLE.read_text(), str(EXAMPLE), "exec"), scope)
    model = scope["Embed"]()
    model.load()
    model(["warm"])
    return model


def make(name: str) -> Work:
    """A work by name, ready to run."""
    return embed() if name == "embed" else {"echo": echo, "spin": spin, "score": score}[name]


def is_batched(name: str) -> bool:
    """Whether the server should batch it."""
    return name in ("embed", "score")


MAX_BATCH_SIZE = 32
WAIT_S = 0.005
"""For servers that take a fixed wait."""
TIMEOUT_S = 2
QUEUE = 256
"""For servers that can bound their queue; Stoker's own settings in the same benchmark."""


if __name__ == "__main__":
    run, texts = make("embed"), [sys.argv[1]] * MAX_BATCH_SIZE
    run(texts)
    done, began, cpu_began = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < float(sys.argv[2]):
        done += len(run(texts))
    print(done / (time.perf_counter() - began), (time.process_time() - cpu_began) / done * 1e6)
