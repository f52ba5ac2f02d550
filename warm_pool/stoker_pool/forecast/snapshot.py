"""What the forecast has learned, as bytes: it survives a restart, and nothing damaged gets in.

The rule that must not break: a state is taken whole or refused with ``ValueError``; reading it runs nothing and costs
no more memory than its own size.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from stoker_pool.forecast.contest import Contest
from stoker_pool.forecast.history import COUNTS, SCALARS, FunctionHistory
from stoker_pool.forecast.idle_search import IdleSearch
from stoker_pool.forecast.pool_price import PoolGoal, PoolPrice
from stoker_pool.forecast.pooled import PooledHazard
from stoker_pool.forecast.prices import PriceSearch

_MAGIC: Final = b"stoker-forecast-1\n"
_HEAD: Final = struct.Struct("<IQI")
"""CRC of what follows, its length, and the length of its JSON part."""
_AT_ONCE: Final = 32


@dataclass(slots=True)
class Learned:
    """What is kept."""

    pooled: PooledHazard
    functions: dict[str, FunctionHistory]
    contests: dict[str, Contest]
    searches: dict[str, PriceSearch]
    pool_price: PoolPrice | None = None
    """None: there is no goal for all, or the state is older than such goals."""


def packed_in_steps(learned: Learned) -> Generator[None, None, Callable[[], bytes]]:
    """Reads ``learned`` a few functions at a step, so that calls need not wait for ten thousand of them.

    What it returns makes the bytes, in any thread: it looks at copies alone.
    """
    names: list[str] = []
    scalars: list[bytes] = []
    counts: list[bytes] = []
    for name, history in list(learned.functions.items()):
        row = history.numbers()
        names.append(name)
        scalars.append(row[0].astype("<f8").tobytes())
        counts.append(row[1].astype("<f4").tobytes())
        if not len(names) % _AT_ONCE:
            yield
    contests = {
        name: [item.forecast_s, item.timer_s, item.gaps, item.is_lost] for name, item in learned.contests.items()
    }
    searches = {name: item.numbers() for name, item in learned.searches.items()}
    described: dict[str, object] = {
        "functions": names,
        "contests": contests,
        "searches": searches,
        "pooled": learned.pooled.numbers(),
    }
    if learned.pool_price is not None:
        described["pool_price"] = learned.pool_price.numbers()
    return partial(_joined, described, scalars, counts)


def _joined(described: dict[str, object], scalars: list[bytes], counts: list[bytes]) -> bytes:
    text = json.dumps(described, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join((text, *scalars, *counts))
    return _MAGIC + _HEAD.pack(zlib.crc32(body), len(body), len(text)) + body


def unpacked(state: bytes) -> Learned:
    """What was packed; raises ``ValueError`` that says what is wrong."""
    if not state.startswith(_MAGIC):
        raise ValueError("the forecast's state is of another version, or none")
    body = memoryview(state)[len(_MAGIC) + _HEAD.size :]
    if len(state) < len(_MAGIC) + _HEAD.size:
        raise ValueError("the forecast's state is cut short")
    checksum, length, text_length = _HEAD.unpack_from(state, len(_MAGIC))
    if len(body) != length or text_length > length:
        raise ValueError(f"the forecast's state is cut short: {len(body)} bytes of {length}")
    if zlib.crc32(body) != checksum:
        raise ValueError("the forecast's state is damaged: its checksum differs")
    try:
        return _parsed(json.loads(bytes(body[:text_length])), body[text_length:])
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"the forecast's state is damaged: {error!r}") from error


def _parsed(described: dict[str, object], numbers: memoryview) -> Learned:
    names = described["functions"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the forecast's state names no functions")
    if len(numbers) != len(names) * (SCALARS * 8 + COUNTS * 4):
        raise ValueError("the forecast's state has not the numbers of its functions")
    cut = len(names) * SCALARS * 8
    scalars = np.frombuffer(numbers[:cut], "<f8").astype(np.float64).reshape(len(names), SCALARS)
    counts = np.frombuffer(numbers[cut:], "<f4").astype(np.float32).reshape(len(names), COUNTS)
    functions = {name: FunctionHistory.of_numbers(scalars[row], counts[row]) for row, name in enumerate(names)}
    pooled = PooledHazard.of_numbers(_rows(described["pooled"]))
    contests = {
        name: Contest(row[0], row[1], int(row[2]), bool(row[3])) for name, row in _table(described["contests"]).items()
    }
    searches = {name: PriceSearch.of_numbers(row) for name, row in _table(described["searches"]).items()}
    described_price = described.get("pool_price")
    pool_price = None if described_price is None else _pool_price(described_price, functions)
    return Learned(pooled, functions, contests, searches, pool_price)


def _pool_price(described: object, functions: dict[str, FunctionHistory]) -> PoolPrice:
    if not isinstance(described, dict):
        raise ValueError("the forecast's state is damaged: a table is missing")
    price = PoolPrice(PoolGoal())
    price.search = PriceSearch.of_numbers(_row(described["search"]))
    price.idle = IdleSearch.of_numbers(_row(described["idle"]))
    price.counted_s = {name: row[0] for name, row in _table(described["counted"]).items() if name in functions}
    return price


def _table(value: object) -> dict[str, list[float]]:
    if not isinstance(value, dict):
        raise ValueError("the forecast's state is damaged: a table is missing")
    return {str(name): _row(row) for name, row in value.items()}


def _rows(value: object) -> list[list[float]]:
    if not isinstance(value, list):
        raise ValueError("the forecast's state is damaged: a list is missing")
    return [_row(row) for row in value]


def _row(value: object) -> list[float]:
    if not isinstance(value, list):
        raise ValueError("the forecast's state is damaged: a row is missing")
    row = [float(number) for number in value]
    if not all(math.isfinite(number) for number in row):
        raise ValueError("the forecast's state is damaged: a number is not finite")
    return row
