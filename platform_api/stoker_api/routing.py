"""Which revision an alias means for one call.

The rule that must not break: pure. Equal sticky keys get equal answers while the split stays as it is, and a key moves
only where a weight changed.
"""

from __future__ import annotations

import hashlib
from typing import Final

from stoker.errors import InvalidInput
from stoker_api.stores.records import Weights

LATEST: Final = "latest"
MAX_WEIGHT: Final = 1_000_000
_GOLDEN: Final = 0.6180339887498949
_SPAN: Final = 2**64


def choose(weights: Weights, point: float) -> int:
    """The revision whose share of the line from 0 to 1 holds ``point``."""
    position = point * sum(weight for _, weight in weights)
    for number, weight in weights:
        position -= weight
        if position < 0:
            return number
    return weights[-1][0]


def sticky_point(key: bytes, salt: str) -> float:
    """Where a caller stands on the line: the same for the same key, and unrelated between functions."""
    digest = hashlib.blake2b(key, digest_size=8, key=hashlib.sha256(salt.encode()).digest()).digest()
    return int.from_bytes(digest, "big") / _SPAN


def spread_point(turn: int) -> float:
    """Points for callers without a key: any run of consecutive turns is split close to the weights."""
    return (turn * _GOLDEN) % 1.0


def checked_weights(given: dict[int, int]) -> Weights:
    """Weights of a split, by revision, without those of 0; raises ``InvalidInput``."""
    for number, weight in given.items():
        if not 0 <= weight <= MAX_WEIGHT:
            raise InvalidInput(f"the weight of revision {number} must be from 0 to {MAX_WEIGHT}, got {weight}")
    weights = tuple(sorted((number, weight) for number, weight in given.items() if weight > 0))
    if not weights:
        raise InvalidInput(f"an alias needs a revision with a weight above 0, got {given}")
    return weights
