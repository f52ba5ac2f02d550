"""The schema that a function's callers read: one item in, one answer out, batched or not."""

from __future__ import annotations

import msgspec
import pytest

from stoker_runtime.json_schema import function_schema
from stoker_runtime.signature import Binder


def embed(text: list[str]) -> list[list[float]]:
    return [[float(len(item))] for item in text]


@pytest.mark.parametrize(
    ("is_batched", "sent", "answered"),
    [
        pytest.param(True, {"type": "string"}, {"type": "array", "items": {"type": "number"}}, id="batched"),
        pytest.param(
            False,
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            id="plain",
        ),
    ],
)
def test_a_schema_says_what_one_caller_sends_and_gets(is_batched: bool, sent: object, answered: object) -> None:
    schema = msgspec.json.decode(function_schema({"": Binder(embed, is_batched=is_batched)}, ""))
    assert schema["input"]["properties"]["text"] == sent
    assert schema["output"] == answered
