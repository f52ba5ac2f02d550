"""The functions that bad input is thrown at, one of each kind."""

from __future__ import annotations

from typing import Final

ECHO: Final = "def echo(x=None):\n    return x\n"
TYPED: Final = """
from typing import Annotated, Literal, TypedDict
from pydantic import BaseModel, Field

class Point(BaseModel):
    x: float
    y: float = 0.0

class Row(TypedDict):
    kind: Literal["a", "b"]
    tags: list[str]

def typed(count: Annotated[int, Field(ge=0, le=100)], point: Point, rows: list[Row] = []) -> float:
    return count * point.x + point.y + len(rows)
"""
BATCHED: Final = "def batched(x: list[int]) -> list[int]:\n    return [item * 2 for item in x]\n"
STREAMING: Final = "def streaming(n: int):\n    for number in range(n):\n        yield number\n"
SOUND_CALLS: Final = (
    ("echo", b'{"x": "sound"}', b'"sound"'),
    ("typed", b'{"count": 2, "point": {"x": 1.5, "y": 1}, "rows": [{"kind": "a", "tags": []}]}', b"5.0"),
    ("batched", b'{"x": 21}', b"42"),
    ("streaming", b'{"n": 3}', b"[0,1,2]"),
)
"""(function, body, answer): what must work after each piece of bad input."""
