"""``/v1/environments``: build ahead of the first function, list what is built."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import Field

from stoker.environment import check_environment
from stoker.spec import environment_from_json
from stoker_api.control.documents import Json
from stoker_api.control.edge import AnyGrant, Document, PlatformDep, grant_for, read_document, takes
from stoker_api.platform import Platform
from stoker_api.stores.records import Scope
from stoker_runtime.environment_build import digest_of

router = APIRouter(prefix="/v1/environments", tags=["environments"])


class EnvironmentDocument(Document):
    """An environment, as in a function's options."""

    python_packages: list[str] = Field(default_factory=list)
    preload: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    files: list[str] = Field(default_factory=list)


@router.get("", summary="List environments")
async def list_environments(platform: PlatformDep, _grant: AnyGrant) -> Json:
    """All that are built."""
    built = await asyncio.to_thread(platform.environments.built)
    users = _users(platform)
    rows = [
        {
            "digest": digest,
            "state": "built",
            "size_bytes": await asyncio.to_thread(_size_bytes, folder),
            "functions": users.get(digest, []),
        }
        for digest, folder in sorted(built.items())
    ]
    return {"environments": rows}


@router.post("", openapi_extra=takes(EnvironmentDocument), summary="Build an environment")
async def build_environment(request: Request, platform: PlatformDep) -> Json:
    """Answers when it is built; the resolver's own words, if it cannot be."""
    grant_for(request, Scope.DEPLOY)
    document = await read_document(request, EnvironmentDocument)
    spec = environment_from_json(document.model_dump())
    check_environment(spec)
    built = await platform.environments.ensure(spec)
    folder = platform.environments.built().get(built.digest)
    size_bytes = 0 if folder is None else await asyncio.to_thread(_size_bytes, folder)
    return {"digest": digest_of(spec), "state": "built", "size_bytes": size_bytes}


def _users(platform: Platform) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for entry in platform.registry.functions():
        users.setdefault(entry.newest.environment_digest, []).append(str(entry.record.key))
    return users


def _size_bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total
