"""KServe's Python model server, v1 protocol, without gRPC and request logs; it has no batcher of its own (that one is
a sidecar in the cluster)."""

from __future__ import annotations

import logging
import sys

import works

WORK, PORT = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = []

from kserve import Model, ModelServer  # noqa: E402  (it reads the arguments when it is imported)


class Served(Model):
    """One work over the instances of a request."""

    def __init__(self) -> None:
        super().__init__("call")
        self.run = works.make(WORK)
        self.ready = True

    async def predict(self, payload: dict[str, list[object]], headers: object = None) -> dict[str, list[object]]:
        return {"predictions": self.run(payload["instances"])}


if __name__ == "__main__":
    server = ModelServer(http_port=PORT, workers=1, enable_grpc=False, enable_latency_logging=False)
    logging.getLogger("uvicorn.access").disabled = True
    server.start([Served()])
