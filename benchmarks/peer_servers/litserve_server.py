"""LitServe: its batching as documented (`max_batch_size`, `batch_timeout`), its ZMQ queue, one worker."""

from __future__ import annotations

import sys

import litserve
import works

WORK, PORT = sys.argv[1], int(sys.argv[2])


class Api(litserve.LitAPI):
    """One work; LitServe calls `predict` with a list only when it batches."""

    def setup(self, device: str) -> None:
        self.run = works.make(WORK)

    def decode_request(self, request: dict[str, object]) -> object:
        return request["x"]

    def predict(self, x: object) -> object:
        return self.run(x) if works.is_batched(WORK) else self.run([x])[0]

    def encode_response(self, output: object) -> object:
        return output


if __name__ == "__main__":
    batching = {"max_batch_size": works.MAX_BATCH_SIZE, "batch_timeout": works.WAIT_S} if works.is_batched(WORK) else {}
    timeout_s = works.TIMEOUT_S if WORK == "spin" else 30
    api = Api(api_path="/call", **batching)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, timeout=timeout_s, fast_queue=True
    )
    server.run(host="127.0.0.1", port=PORT, log_level="warning", access_log=False, generate_client_file=False)
