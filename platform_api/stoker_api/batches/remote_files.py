"""Files behind URLs; the only file that imports fsspec.

The rule that must not break: what goes wrong comes out as an error of ours that names the URL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

import fsspec

from stoker.errors import InvalidInput, NotFound
from stoker_api.batches.remote_reading import RemoteFile
from stoker_api.stores.failures import StorageFailed

_SILENT_S: Final = 60.0
"""A web server that sends nothing for so long is given up; the whole of a file may take as long as it takes."""
_GONE: Final = (404, 410)
_MARKS: Final = (
    "ETag",
    "etag",
    "mtime",
    "LastModified",
    "updated",
    "last_modified",
    "Last-Modified",
    "created",
    "md5Hash",
)


def expand(url: str) -> list[str]:
    """The URLs that a glob matches, in order."""
    with _told(url):
        system, path = _system(url)
        return sorted(system.unstrip_protocol(found).replace(":///", "://") for found in system.glob(path))


def describe(url: str) -> tuple[int, dict[str, str]]:
    """Size, and what changes when the content does."""
    with _told(url):
        system, path = _system(url)
        found: dict[str, Any] = system.info(path)
        marks = {name: str(found[name]) for name in _MARKS if found.get(name)}
        return int(found.get("size") or 0), marks


def open_read(url: str) -> BinaryIO:
    """The content from its beginning."""

    def open_file(block_bytes: int) -> BinaryIO:
        system, path = _system(url)
        return cast(BinaryIO, system.open(path, "rb", block_size=block_bytes))

    return cast(BinaryIO, RemoteFile(url, open_file, lambda: _told(url)))


def put(local: str, url: str) -> None:
    """Write a local file there, whole or not at all as far as the store allows."""
    with _told(url, "written"):
        system, path = _system(url)
        system.makedirs(system._parent(path), exist_ok=True)
        system.put_file(local, path)


def listing(url: str) -> list[str]:
    """Names of the files right under a folder; empty where there is none."""
    with _told(url):
        system, path = _system(url)
        if not system.exists(path):
            return []
        return sorted(str(found).rstrip("/").rpartition("/")[2] for found in system.ls(path, detail=False))


def remove(url: str) -> None:
    """Remove one file; nothing where it is not there."""
    with _told(url, "removed"):
        system, path = _system(url)
        if system.exists(path):
            system.rm_file(path)


def _system(url: str) -> tuple[Any, str]:
    options: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        import aiohttp

        options["client_kwargs"] = {
            "headers": {"Accept-Encoding": "identity"},  # sizes and ranges are those of the file itself
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=_SILENT_S, sock_read=_SILENT_S),
        }
    return cast("tuple[Any, str]", fsspec.core.url_to_fs(url, **options))


@contextlib.contextmanager
def _told(url: str, what: str = "read") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        away = _not_answered(error)
        if away is not None:
            raise _failed(url, what, away) from error
        raise NotFound(f"there is no {url}") from error
    except ImportError as error:
        raise InvalidInput(f"{url} cannot be {what}: {error}", hint="Install it beside the platform.") from error
    except (InvalidInput, NotFound):
        raise
    except ValueError as error:
        raise InvalidInput(f"{url} cannot be {what}: {error}") from error
    except Exception as error:  # whatever the store's own library raises: aiohttp's, botocore's, gcsfs's
        raise _failed(url, what, error) from error


def _not_answered(error: FileNotFoundError) -> BaseException | None:
    """fsspec says of a web server that is down, or refuses, what it says of one that has no such file."""
    cause = error.__cause__
    if cause is None or getattr(cause, "status", None) in _GONE:
        return None
    is_of_http = type(cause).__module__.startswith("aiohttp")
    return cause if is_of_http or isinstance(cause, (ConnectionError, asyncio.TimeoutError, TimeoutError)) else None


def _failed(url: str, what: str, error: BaseException) -> StorageFailed:
    return StorageFailed(
        f"{url} cannot be {what}: {type(error).__name__}: {error}",
        hint="Is its server there, and does it let the platform in? What is done of a run is kept: resume it then.",
    )
