"""Weights are assigned to a model that was never initialised; a missing one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import stoker
from stoker.errors import InvalidInput


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    with pytest.raises(InvalidInput, match=r"no \.safetensors file"):
        stoker.load_safetensors(tmp_path / "nowhere.safetensors", lambda: None)  # type: ignore[type-var,return-value]


def test_weights_and_buffers_come_out_right(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)
            self.register_buffer("scale", torch.arange(2.0) + 1, persistent=False)

        def forward(self, x: object) -> object:
            return self.linear(x) * self.scale

    original = Net()
    path = tmp_path / "model.safetensors"
    safetensors_torch.save_file(original.state_dict(), path)
    loaded = stoker.load_safetensors(path, Net)
    x = torch.ones(1, 3)
    assert torch.equal(loaded(x), original(x))
    assert not loaded.training
    assert torch.equal(stoker.load_safetensors(tmp_path, Net)(x), original(x))


def test_a_missing_weight_is_refused_by_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    path = tmp_path / "model.safetensors"
    safetensors_torch.save_file({"weight": torch.zeros(2, 3)}, path)
    with pytest.raises(InvalidInput, match="lacks weights of Linear: bias"):
        stoker.load_safetensors(path, lambda: torch.nn.Linear(3, 2))
