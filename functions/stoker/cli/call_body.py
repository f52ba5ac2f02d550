"""A call's body from a command line: ``name=value``, ``--name value``, positions, a whole document or a file.

The rule that must not break: what can travel as one plain JSON object does, so that the call is what curl would make.
"""

from __future__ import annotations

import json
import mimetypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from stoker.cli.flags import loose_value, read_file

ARGS_TYPE: Final = "application/vnd.stoker.args+json"
JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class CallBody:
    """What is sent."""

    content: bytes | None
    headers: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """Beside files, in a form."""


def body_of(args: Sequence[str], data: str | None) -> CallBody:
    """The body that a command line asks for; raises a usage error."""
    if data is not None:
        if args:
            raise click.UsageError(f"give --data or arguments, not both; got {' '.join(args)!r} too")
        return _whole(data)
    positions, named, files = _split(args)
    if files:
        if positions:
            raise click.UsageError("files travel by name; give the other arguments as name=value too")
        fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
        return CallBody(None, {}, files, fields)
    if positions:
        return CallBody(json.dumps([positions, named]).encode(), {"Content-Type": ARGS_TYPE})
    return CallBody(json.dumps(named).encode(), {"Content-Type": JSON_TYPE})


def read_headers(texts: Sequence[str]) -> dict[str, str]:
    """``Name: value`` each; raises a usage error."""
    headers = {}
    for text in texts:
        name, separator, value = text.partition(":")
        if not separator or not name.strip():
            raise click.UsageError(f"a header looks like 'Name: value', got {text!r}")
        headers[name.strip()] = value.strip()
    return headers


def _whole(data: str) -> CallBody:
    if data == "-":
        return _document(sys.stdin.buffer.read(), None)
    if data.startswith("@"):
        return _document(read_file(data[1:]), data[1:])
    try:
        json.loads(data)
    except ValueError as error:
        raise click.UsageError(f"--data must be JSON, @file or -, got {data!r}: {error}") from None
    return CallBody(data.encode(), {"Content-Type": JSON_TYPE})


def _document(content: bytes, name: str | None) -> CallBody:
    guessed = mimetypes.guess_type(name)[0] if name else None
    if guessed is None or guessed == JSON_TYPE:
        try:
            json.loads(content)
            guessed = JSON_TYPE
        except ValueError:
            guessed = "application/octet-stream"
    return CallBody(content, {"Content-Type": guessed})


def _split(
    args: Sequence[str],
) -> tuple[list[object], dict[str, object], dict[str, tuple[str, bytes, str]]]:
    positions: list[object] = []
    named: dict[str, object] = {}
    files: dict[str, tuple[str, bytes, str]] = {}
    for name, text in _pairs(args):
        value = loose_value(text)
        if name is None:
            if isinstance(value, bytes):
                raise click.UsageError(f"{text[1:]} is no text; send it with --data {text}, or by name: NAME={text}")
            positions.append(value)
        elif name in named or name in files:
            raise click.UsageError(f"{name} is given twice")
        elif isinstance(value, bytes):
            kind = mimetypes.guess_type(text)[0] or "application/octet-stream"
            files[name] = (Path(text[1:]).name, value, kind)
        else:
            named[name] = value
    return positions, named, files


def _pairs(args: Sequence[str]) -> list[tuple[str | None, str]]:
    pairs: list[tuple[str | None, str]] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg.startswith("--") and len(arg) > 2:
            name, separator, value = arg[2:].partition("=")
            if not separator:
                if not rest:
                    raise click.UsageError(f"there is no option {arg}, and no value after it to send as an argument")
                value = rest.pop(0)
            pairs.append((name.replace("-", "_"), value))
            continue
        name, separator, value = arg.partition("=")
        if separator and name.isidentifier():
            pairs.append((name, value))
        else:
            pairs.append((None, arg))
    return pairs
