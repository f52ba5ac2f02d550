"""Where the platform is and how to be let in: environment variables first, then what ``stoker serve`` left behind.

The rule that must not break: this is the only place in the package that reads the process environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stoker.errors import NotFound

CONNECTION_FILE: Final = "connection.json"
URL: Final = "STOKER_URL"
TOKEN: Final = "STOKER_TOKEN"
DATA_DIR: Final = "STOKER_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Connection:
    """A platform's address and a token for it."""

    url: str
    token: str | None = None

    def __repr__(self) -> str:  # a token must not end up in a log
        return f"Connection({self.url!r}, token={'***' if self.token else None})"


def find_connection(environ: Mapping[str, str] | None = None) -> Connection:
    """The platform to talk to; raises ``NotFound`` saying how to get one."""
    environ = os.environ if environ is None else environ
    url, token = environ.get(URL), environ.get(TOKEN)
    if url and token:
        return Connection(url.rstrip("/"), token)
    local = _read(data_dir(environ) / CONNECTION_FILE)
    if url:
        url = url.rstrip("/")
        return Connection(url, local.token if local is not None and local.url == url else None)
    if local is None:
        raise NotFound(
            f"no platform is known: {URL} is not set and {data_dir(environ) / CONNECTION_FILE} does not exist",
            hint=f"Start one with `stoker serve`, or set {URL} and {TOKEN}.",
        )
    return Connection(local.url, token or local.token)


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The platform's data directory on this machine."""
    environ = os.environ if environ is None else environ
    return Path(environ.get(DATA_DIR) or "~/.stoker").expanduser()


def _read(path: Path) -> Connection | None:
    try:
        data = json.loads(path.read_text())
        return Connection(str(data["url"]).rstrip("/"), data.get("token"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotFound(f"{path} cannot be read: {error}", hint="Restart `stoker serve`; it writes the file.") from error
