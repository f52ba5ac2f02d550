"""Fits the weights that the forecast ships with, to all traces at once.

    python -m benchmarks.prewarming.fit_hazard_net [--traces FOLDER] [--write]

It fits to each half of the functions of each trace, prints the loss on the other half (what matters is that both are
alike), and then to all of them. ``--write`` writes all three: `hazard_net.json`, which ships, and `halves/`, by which
`python -m benchmarks.prewarming` forecasts each half of the functions with weights fitted to the other. The loss is
proper for the rule "loaded where h >= 1 / T", with thresholds weighed by c ** -0.4, so that rare calls, whose cold
starts cost most idle time to spare, count more than in a plain likelihood.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.prewarming.comparisons import TRACES
from benchmarks.prewarming.cross_fitted import HALVES
from benchmarks.prewarming.hazard_rows import Rows, joined, rows_of
from benchmarks.prewarming.small_platforms import small_platforms
from stoker_pool.forecast import hazard_net
from stoker_pool.forecast.features import NAMES
from stoker_pool.simulation.trace_files import read_trace

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = 24
EPOCHS = 80
BATCH = 4096
TILT = 0.4
START = {"long_wide": 0.35, "context_mid": 0.35, "pooled": 0.3}
"""Before it is fitted, the network is the geometric mean of these."""
THINNED = 30

Array = NDArray[np.float32]
Weights = dict[str, Array]
Chosen = Callable[[NDArray[np.int32]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of several traces; each trace weighs the same."""

    inputs: Array
    exposure_s: Array
    came: Array
    weight: Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=ROOT.parent / "shared/traces")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = {}
    for name in TRACES:
        trace = read_trace(args.traces / f"{name}.npz")
        rows[name] = rows_of(trace, thinned=THINNED if name == "servegen_large" else 1)
        print(f"{name}: {len(rows[name].came)} cells, {rows[name].came.sum():.0f} calls", flush=True)
    rows["small platforms"] = joined([rows_of(trace, skip=0.02) for trace in small_platforms()])
    middle = np.mean([part.estimates.mean(axis=0) for part in rows.values()], axis=0)
    spread = np.mean([part.estimates.std(axis=0) for part in rows.values()], axis=0) + 1e-3
    fitted: dict[Path, Weights] = {}
    for half, path in enumerate(HALVES):
        fitted[path] = fit(sample(rows, middle, spread, lambda owner, half=half: owner % 2 != half), middle, spread)
        for name, part in rows.items():
            mine = sample({name: part}, middle, spread, lambda owner, half=half: owner % 2 != half)
            others = sample({name: part}, middle, spread, lambda owner, half=half: owner % 2 == half)
            found = (loss(fitted[path], mine), loss(fitted[path], others))
            print(f"for {path.stem} functions, {name}: loss {found[0]:.3f} fitted, {found[1]:.3f} held out", flush=True)
    whole = sample(rows, middle, spread, lambda owner: np.ones(len(owner), bool))
    fitted[Path(hazard_net.__file__).with_name("hazard_net.json")] = fit(whole, middle, spread)
    if args.write:
        for path, weights in fitted.items():
            write(path, weights, middle, spread)


def sample(rows: dict[str, Rows], middle: Array, spread: Array, chosen: Chosen) -> Sample:
    """The rows whose owners are ``chosen``."""
    parts = []
    for part in rows.values():
        mask = chosen(part.owner)
        inputs = ((part.estimates[mask] - middle) / spread).astype(np.float32)
        weight = part.weight[mask]
        weight = weight * np.float32(1e4 / (weight @ part.came[mask]))
        parts.append((inputs, part.exposure_s[mask], part.came[mask], weight))
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def forward(weights: Weights, inputs: Array) -> tuple[Array, Array]:
    """The hidden layer, and log hazards."""
    hidden = np.maximum(inputs @ weights["hidden"] + weights["hidden_bias"], 0)
    return hidden, hidden @ weights["out"] + inputs @ weights["skip"] + weights["bias"]


def loss(weights: Weights, data: Sample) -> float:
    """Per call, tilted towards rare calls."""
    logs = np.clip(forward(weights, data.inputs)[1], -18, 3).astype(np.float64)
    tilted = data.exposure_s * np.exp((1 - TILT) * logs) / (1 - TILT) + data.came * np.exp(-TILT * logs) / TILT
    return float(data.weight @ tilted / (data.weight @ data.came))


def fit(data: Sample, middle: Array, spread: Array, seed: int = 0) -> Weights:
    """Adam with a cosine of step sizes."""
    random = np.random.default_rng(seed)
    weights = start(middle, spread, random)
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    batches = max(len(data.came) // BATCH, 1)
    total = EPOCHS * batches
    for step in range(1, total + 1):
        if (step - 1) % batches == 0:
            order = random.permutation(len(data.came))
        at = (step - 1) % batches * BATCH
        slopes = gradient(weights, data, order[at : at + BATCH])
        rate = 4e-3 * min(1.0, step / 100) * 0.5 * (1 + np.cos(np.pi * step / total)) + 1e-5
        for name, slope in slopes.items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.99 * second[name] + 0.01 * slope * slope
            move = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
            weights[name] = (weights[name] - rate * move).astype(np.float32)
    return weights


def start(middle: Array, spread: Array, random: np.random.Generator) -> Weights:
    count = len(NAMES)
    skip = np.zeros(count, np.float32)
    for name, share in START.items():
        skip[NAMES.index(name)] = share * spread[NAMES.index(name)]
    bias = sum(share * middle[NAMES.index(name)] for name, share in START.items())
    return {
        "hidden": random.normal(0, count**-0.5, (count, HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "out": random.normal(0, 0.05, HIDDEN).astype(np.float32),
        "skip": skip,
        "bias": np.float32(bias),  # type: ignore[dict-item]
    }


def gradient(weights: Weights, data: Sample, chosen: NDArray[np.int64]) -> Weights:
    inputs, weight = data.inputs[chosen], data.weight[chosen]
    hidden, logs = forward(weights, inputs)
    logs = np.clip(logs, -18, 3)
    tilt = np.exp(-TILT * (np.clip(logs, -11, -2) + 6))
    surprise = np.clip(tilt * (np.exp(logs) * data.exposure_s[chosen] - data.came[chosen]), -30, 30)
    slope = (weight * surprise / (weight.mean() * len(chosen))).astype(np.float32)
    back = np.outer(slope, weights["out"]) * (hidden > 0)
    slopes = {
        "hidden": inputs.T @ back,
        "hidden_bias": back.sum(0),
        "out": hidden.T @ slope,
        "skip": inputs.T @ slope,
        "bias": slope.sum(),
    }
    return {name: value + 1e-5 * weights[name] for name, value in slopes.items()}


def write(path: Path, weights: Weights, middle: Array, spread: Array) -> None:
    """For raw estimates: what they were shifted and scaled by goes into the weights."""
    hidden = weights["hidden"] / spread[:, None]
    shift = middle / spread
    numbers = {
        "features": list(NAMES),
        "hidden": [_rounded(row) for row in hidden],
        "hidden_bias": _rounded(weights["hidden_bias"] - shift @ weights["hidden"]),
        "out": _rounded(weights["out"]),
        "skip": _rounded(weights["skip"] / spread),
        "bias": float(weights["bias"] - shift @ weights["skip"]),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(numbers, separators=(",", ":")))
    print(f"wrote {path.name}")


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


if __name__ == "__main__":
    main()
