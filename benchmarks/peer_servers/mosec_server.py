"""Mosec: its batching as documented (`max_batch_size`, `max_wait_time`), bounded queue and timeout, one worker."""

from __future__ import annotations

import math
import sys

import works
from mosec import Server, Worker

WORK, PORT = sys.argv[1], sys.argv[2]


class Model(Worker):
    """One work; Mosec calls `forward` with a list only when it batches."""

    def __init__(self) -> None:
        super().__init__()
        self.run = works.make(WORK)

    def forward(self, data: object) -> object:
        if works.is_batched(WORK):
            return self.run([item["x"] for item in data])
        return self.run([data["x"]])[0]


if __name__ == "__main__":
    timeout_ms = works.TIMEOUT_S * 1000 if WORK == "spin" else 30_000
    arguments = ["--address", "127.0.0.1", "--port", PORT, "--timeout", str(timeout_ms), "--capacity", str(works.QUEUE)]
    sys.argv[1:] = [*arguments, "--log-level", "error"]
    batching = {"max_batch_size": works.MAX_BATCH_SIZE, "max_wait_time": math.ceil(works.WAIT_S * 1000)}
    server = Server()
    # workers are spawned, and a spawned worker imports this file with the arguments that its parent had
    server.append_worker(
        Model, num=1, start_method="fork", route="/call", **(batching if works.is_batched(WORK) else {})
    )
    server.run()
