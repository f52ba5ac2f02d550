"""Prints what a function answered: text as text, bytes as bytes, all else as JSON.

The rule that must not break: what is written to a pipe can be read back by the next program.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from stoker.cli.output import is_terminal, note
from stoker.response import Response


def print_answer(value: object, *, as_json: bool = False, output: Path | None = None) -> None:
    """Write one answer to standard output, or to a file."""
    if isinstance(value, Response):
        value = value.body
    if output is not None:
        data = bytes(value) if isinstance(value, (bytes, bytearray)) else f"{_text(value, as_json)}\n".encode()
        output.write_bytes(data)
        note(f"{len(data)} bytes written to {output}")
        return
    if isinstance(value, (bytes, bytearray)) and not as_json:
        _print_bytes(bytes(value))
        return
    click.echo(_text(value, as_json))


def print_item(value: object, *, as_json: bool = False, raw: bool = False) -> None:
    """Write one item of a stream; ``raw`` joins pieces of text as they come."""
    if raw and isinstance(value, str):
        click.echo(value, nl=False)
    else:
        click.echo(value if isinstance(value, str) and not as_json else to_json(value, indent=None))
    sys.stdout.flush()


def to_json(value: object, *, indent: int | None) -> str:
    """The value as JSON, as the platform would send it."""
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=indent)


def _text(value: object, as_json: bool) -> str:
    if isinstance(value, str) and not as_json:
        return value
    return to_json(value, indent=2 if is_terminal() and _is_nested(value) else None)


def _is_nested(value: object) -> bool:
    """Worth several lines; a vector of numbers is not."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return len(str(value)) > 100 and any(isinstance(item, (dict, list)) for item in inner)


def _print_bytes(data: bytes) -> None:
    if is_terminal():
        try:
            click.echo(data.decode())
        except UnicodeDecodeError:
            note(f"{len(data)} bytes that are no text; write them to a file with -o FILE or > FILE")
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _plain(value: object) -> object:
    for method in ("model_dump", "tolist", "_asdict"):
        found = getattr(value, method, None)
        if callable(found):
            return found()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)
