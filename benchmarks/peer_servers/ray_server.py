"""Ray Serve: one replica; `@serve.batch` as documented (`max_batch_size`, `batch_wait_timeout_s`), bounded queue."""

from __future__ import annotations

import signal
import sys

import ray
import works
from ray import serve
from starlette.requests import Request

WORK, PORT = sys.argv[1], int(sys.argv[2])


class Peer:
    """One work behind Serve's proxy."""

    def __init__(self, work: str) -> None:
        self.run = works.make(work)
        self.is_batched = works.is_batched(work)

    @serve.batch(max_batch_size=works.MAX_BATCH_SIZE, batch_wait_timeout_s=works.WAIT_S)
    async def batched(self, items: list[object]) -> list[object]:
        return self.run(items)

    async def __call__(self, request: Request) -> object:
        item = (await request.json())["x"]
        return await self.batched(item) if self.is_batched else self.run([item])[0]


if __name__ == "__main__":
    # every process is pinned to one core; a share of it for each keeps Ray from refusing to place them
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False)
    options = {"host": "127.0.0.1", "port": PORT, **({"request_timeout_s": works.TIMEOUT_S} if WORK == "spin" else {})}
    serve.start(http_options=options, logging_config={"enable_access_log": False})
    limits = {"max_ongoing_requests": 8, "max_queued_requests": works.QUEUE} if WORK == "spin" else {}
    deployment = serve.deployment(Peer).options(num_replicas=1, **{"max_ongoing_requests": 128, **limits})
    serve.run(deployment.bind(WORK), route_prefix="/call", logging_config={"enable_access_log": False})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
