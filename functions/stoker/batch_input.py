"""The input of a batch run as the caller has it: rows, files of this machine, or URLs that the platform reads itself.

The rule that must not break: a path without a scheme means this machine, and is sent piece by piece in bounded memory;
a URL is passed on as it is.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from stoker import routes
from stoker.client import Client
from stoker.errors import InvalidInput, NotFound
from stoker.payload import encode_value

_PIECE_BYTES: Final = 8 * 1024 * 1024
_TEXTS: Final = (".txt", ".md", ".rst", ".html")
_DATA: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".pq")
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst")


def send_input(client: Client, given: object) -> list[str]:
    """What the platform takes as ``input``: URLs, those of uploads among them."""
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, str):
        return [given] if is_url(given) else _send_path(client, given)
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InvalidInput(f"the input must be rows, a path or a URL, got {type(given).__name__}")
    rows = list(given) if isinstance(given, (list, tuple)) else given
    if isinstance(rows, list) and rows and all(isinstance(row, (str, os.PathLike)) and _is_place(row) for row in rows):
        return [url for row in rows for url in send_input(client, row)]
    return [_send(client, "rows.jsonl", (encode_value(row) + b"\n" for row in rows))]


def is_url(text: str) -> bool:
    """The platform reads or writes it by itself."""
    return "://" in text or text.startswith("upload:")


def _is_place(row: object) -> bool:
    text = os.fspath(row) if isinstance(row, os.PathLike) else str(row)
    return isinstance(row, os.PathLike) or is_url(text) or text.lower().endswith(_DATA + _PACKED)


def _send_path(client: Client, text: str) -> list[str]:
    path = Path(text).expanduser()
    if path.is_dir():
        texts = sorted(found for found in path.rglob("*") if found.suffix.lower() in _TEXTS and found.is_file())
        if texts:
            return [_send(client, "texts.jsonl", _text_rows(path, texts))]
        found = sorted(str(each) for each in path.iterdir() if _is_data(each.name))
    else:
        found = [str(path)] if path.is_file() else sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise NotFound(f"there is no input {text}", hint="Name a file, a folder, a glob in quotes, or a URL.")
    return [_send(client, os.path.basename(each), _pieces_of(each)) for each in found]


def _is_data(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return (os.path.splitext(stem)[1] if suffix in _PACKED else suffix) in _DATA


def _text_rows(folder: Path, paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        row: dict[str, Any] = {"path": str(path.relative_to(folder)), "text": path.read_text("utf-8", "replace")}
        yield json.dumps(row).encode() + b"\n"


def _pieces_of(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _send(client: Client, name: str, pieces: Iterable[bytes]) -> str:
    held = bytearray()
    upload: dict[str, Any] | None = None
    for piece in pieces:
        held += piece
        if len(held) >= _PIECE_BYTES:
            upload = _send_piece(client, name, upload, bytes(held))
            held.clear()
    if held or upload is None:
        upload = _send_piece(client, name, upload, bytes(held))
    return str(upload["url"])


def _send_piece(client: Client, name: str, upload: dict[str, Any] | None, piece: bytes) -> dict[str, Any]:
    if upload is None:
        route = routes.upload(name, piece)
    else:
        route = routes.upload_more(upload["id"], upload["size_bytes"], piece)
    answer: dict[str, Any] = client.request(route)
    return answer
