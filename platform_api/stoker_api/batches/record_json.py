"""A run's specification as JSON for the store, and back.

The rule that must not break: what was written by an older Stoker is read: a field that is not there has its default.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import msgspec

from stoker_api.batches.records import NewBatch, RowFormat

_FORMATS: Final = ("input_format", "output_format")
_TUPLES: Final = ("input", "items", "fingerprints")


def spec_to_json(spec: NewBatch) -> str:
    """The specification, whole."""
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    for name in _FORMATS:
        values[name] = None if values[name] is None else values[name].value
    return msgspec.json.encode(values).decode()


def spec_from_json(text: str) -> NewBatch:
    """The same back."""
    found: dict[str, Any] = msgspec.json.decode(text)
    known = {field.name for field in fields(NewBatch)}
    values = {name: value for name, value in found.items() if name in known}
    for name in _FORMATS:
        if values.get(name) is not None:
            values[name] = RowFormat(values[name])
    for name in _TUPLES:
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    return NewBatch(**values)
