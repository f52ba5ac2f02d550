"""The output of a batch run, fetched from the platform that keeps it.

The rule that must not break: a folder is there whole or not at all: it is filled beside its place and renamed when
every file has the size and the hash that the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stoker import routes
from stoker.carried_bytes import restored
from stoker.client import Client
from stoker.errors import Conflict, PlatformError

MANIFEST: Final = "manifest.json"


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise ``Conflict`` where something is there that must not be overwritten."""
    is_free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_free and not overwrite:
        raise Conflict(f"the output {target} exists", hint="Name another one, or give --overwrite.")


def fetch_output(client: Client, batch_id: str, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the output to ``target``; its manifest."""
    check_target(target, overwrite=overwrite)
    staging = target.with_name(f".{target.name}.{batch_id}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        manifest: dict[str, Any] = json.loads(b"".join(client.pieces(routes.batch_output(batch_id, MANIFEST))))
        for document in [*manifest["parts"], *manifest["errors"]]:
            _fetch(client, batch_id, document, staging / str(document["file"]))
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _swap(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return manifest


def read_rows(client: Client, batch_id: str, kind: str) -> Iterator[dict[str, Any]]:
    """The lines of a kept JSONL output, in the order of the input: ``parts`` or ``errors``."""
    manifest = json.loads(b"".join(client.pieces(routes.batch_output(batch_id, MANIFEST))))
    for document in manifest[kind]:
        if not str(document["file"]).endswith(".jsonl"):
            raise Conflict("only a JSONL output can be read row by row", hint="Fetch it to a folder.")
        rest = b""
        for piece in client.pieces(routes.batch_output(batch_id, str(document["file"]))):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                row = restored(json.loads(line))
                assert isinstance(row, dict)
                yield row


def _fetch(client: Client, batch_id: str, document: dict[str, Any], path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in client.pieces(routes.batch_output(batch_id, str(document["file"]))):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != document["sha256"]:
        raise PlatformError(f"{document['file']} of {batch_id} came damaged", hint="Fetch it again.")


def _swap(staging: Path, target: Path) -> None:
    old = target.with_name(f"{staging.name}.old")
    if target.exists():
        target.rename(old)
    staging.rename(target)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)
