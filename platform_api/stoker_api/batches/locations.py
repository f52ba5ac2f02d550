"""Where a run may read and write.

The rule that must not break: a location that a caller names is used only beneath a root that the operator allowed,
after links and ``..`` were resolved; chained and wrapped URLs, which could name another place, are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from stoker.errors import Forbidden, InvalidInput

UPLOAD_SCHEME: Final = "upload:"
_UPLOAD_ID: Final = re.compile(r"upload_[0-9a-z]{10,40}(?:-[0-9A-Za-z_-]{1,64})?(?:\.[a-z0-9]{1,10}){0,3}")
_FILE: Final = "file://"
_GLOB: Final = frozenset("*?[")


class Place(str, Enum):
    """What kind of location it is."""

    FILE = "file"
    REMOTE = "remote"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Location:
    """A location that may be used: an absolute path, a URL for fsspec, or an upload's id."""

    place: Place
    path: str

    @property
    def name(self) -> str:
        """For a person: of an upload, what its sender called it."""
        return self.path.partition("-")[2] or self.path if self.place is Place.UPLOAD else self.path

    @property
    def has_glob(self) -> bool:
        return not _GLOB.isdisjoint(self.path)


def parse_location(text: str, roots: Sequence[str]) -> Location:
    """The location; raises ``InvalidInput`` for what is none, ``Forbidden`` for what is under no root."""
    if not text or len(text) > 4096 or "\0" in text:
        raise InvalidInput(f"not a location: {text[:80]!r}")
    if text.startswith(UPLOAD_SCHEME):
        found = text.removeprefix(UPLOAD_SCHEME)
        if _UPLOAD_ID.fullmatch(found) is None:
            raise InvalidInput(f"no upload {found[:80]!r}", hint="POST /v1/batches/uploads answers an upload's URL.")
        return Location(Place.UPLOAD, found)
    if "::" in text:
        raise InvalidInput(f"chained URLs are not taken: {text!r}")
    if text.startswith(_FILE):
        text = unquote(text.removeprefix(_FILE))
    if "://" in text:
        return _remote(text, roots)
    if not text.startswith("/"):
        raise InvalidInput(
            f"{text!r} must be an absolute path or a URL",
            hint="`stoker batch run` uploads local files by itself; over HTTP, POST them to /v1/batches/uploads.",
        )
    return _file(text, roots)


def check_resolved(path: Path, roots: Sequence[str]) -> Path:
    """A path that exists, or will, with its links resolved; raises ``Forbidden`` where it leads out of the roots."""
    resolved = Path(os.path.realpath(path))
    for root in roots:
        if "://" not in root and resolved.is_relative_to(os.path.realpath(root)):
            return resolved
    raise _forbidden(str(path))


def _file(text: str, roots: Sequence[str]) -> Location:
    path = os.path.normpath(text)
    if _GLOB.isdisjoint(path):
        check_resolved(Path(path), roots)
    elif not any("://" not in root and Path(path).is_relative_to(os.path.normpath(root)) for root in roots):
        raise _forbidden(text)  # each file that it matches is checked again when it is found
    return Location(Place.FILE, path)


def _remote(text: str, roots: Sequence[str]) -> Location:
    parts = urlsplit(text)
    if ".." in unquote(parts.path).split("/") or "@" in parts.netloc or "\\" in text:
        raise InvalidInput(f"{text!r} is no plain URL", hint="Leave out `..`, user names and backslashes.")
    for root in roots:
        prefix = root if root.endswith("/") else f"{root}/"
        if "://" in root and (text.startswith(prefix) or text == root):
            return Location(Place.REMOTE, text)
    raise _forbidden(text)


def _forbidden(text: str) -> Forbidden:
    return Forbidden(
        f"{text!r} lies under no folder or URL that batch runs may use",
        hint="Upload the file (`stoker batch run` does), or let the operator add it to STOKER_BATCH_ROOTS.",
    )
