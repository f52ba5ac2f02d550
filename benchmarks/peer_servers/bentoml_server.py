"""BentoML: one worker; adaptive batching as documented (`batchable`, `max_batch_size`, `max_latency_ms`)."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import works

WORK = os.environ["PEER_WORK"]
TRAFFIC = {"timeout": works.TIMEOUT_S, "max_concurrency": works.QUEUE} if WORK == "spin" else {"timeout": 30}
QUIET = {"access": {"enabled": False}}

if works.is_batched(WORK):

    @bentoml.service(workers=1, traffic=TRAFFIC, logging=QUIET)
    class Peer:
        """One work in batches."""

        def __init__(self) -> None:
            self.run = works.make(WORK)

        @bentoml.api(batchable=True, max_batch_size=works.MAX_BATCH_SIZE, max_latency_ms=10_000, route="/call")
        def infer(self, x: list[Any]) -> list[Any]:
            return self.run(x)

else:

    @bentoml.service(workers=1, traffic=TRAFFIC, logging=QUIET)
    class Peer:
        """One work, one item at a time."""

        def __init__(self) -> None:
            self.run = works.make(WORK)

        @bentoml.api(route="/call")
        async def infer(self, x: Any) -> Any:
            return self.run([x])[0]
