"""Weights into a model without a second copy: built on the meta device, mapped from the file, assigned.

The rule that must not break: torch and safetensors are imported here only, and only when called. Pages of the file
are shared by every replica on the host, so a second replica's load costs no read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stoker.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

ModelT = TypeVar("ModelT", bound="Module")


def load_safetensors(path: str | Path, model_fn: Callable[[], ModelT], *, device: str = "cpu") -> ModelT:
    """The model that ``model_fn`` builds, with the weights of ``path`` (a file, or a folder of shards).

    ``model_fn`` runs on the meta device, so no weight is initialised only to be overwritten. Where it computes buffers
    that the file does not hold, it runs once more for real to get them. A missing weight is refused by name.
    """
    import torch
    from safetensors.torch import load_file

    with torch.device("meta"):
        model = model_fn()
    for file in _shards(Path(path)):
        model.load_state_dict(load_file(file, device=device), strict=False, assign=True)
    _retie(model)
    if any(buffer.is_meta for buffer in model.buffers()):
        _take_buffers(model, model_fn(), device)
    empty = [name for name, tensor in _tensors(model) if tensor.is_meta]
    if empty:
        raise InvalidInput(
            f"{path} lacks weights of {type(model).__name__}: {', '.join(empty[:5])}",
            hint="Check that model_fn builds the model that the file was saved from.",
        )
    model.eval()
    return model


def _retie(model: Module) -> None:
    tie = getattr(model, "tie_weights", None)
    if callable(tie):
        tie()


def _take_buffers(model: Module, real: Module, device: str) -> None:
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            model.get_submodule(owner)._buffers[leaf] = real.get_buffer(name).to(device)


def _tensors(model: Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _shards(path: Path) -> list[Path]:
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.exists() for file in files):
        raise InvalidInput(f"{path} is no .safetensors file and no folder of such files")
    return files
