"""Which revision answers under which name: aliases, rollback, promote."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from stoker.errors import InvalidInput
from stoker_api.control.documents import Json, alias_document
from stoker_api.control.edge import DeployableFunction, Document, PlatformDep, read_document, takes
from stoker_api.routing import LATEST

router = APIRouter(prefix="/v1/functions/{name}", tags=["rollout"])


class AliasSpec(Document):
    """Where an alias points: one revision, or several by weight."""

    revision: int | None = None
    weights: dict[str, int] | None = None


class RollbackSpec(Document):
    """Where to go back to; the place before, if nothing is named."""

    revision: int | None = None
    alias: str = LATEST


class PromoteSpec(Document):
    """What an alias gets: a revision, or what another alias points to."""

    revision: int | None = None
    from_alias: str | None = None
    alias: str = Field(default="prod")


@router.put("/aliases/{alias}", openapi_extra=takes(AliasSpec), summary="Point an alias")
async def put_alias(request: Request, platform: PlatformDep, key: DeployableFunction, alias: str) -> Json:
    """To one revision, or split by weight; equal ``Stoker-Session`` headers take the same side."""
    spec = await read_document(request, AliasSpec)
    if (spec.revision is None) == (spec.weights is None):
        raise InvalidInput('an alias needs either "revision" or "weights"', hint='{"weights": {"2": 90, "3": 10}}')
    weights = {spec.revision: 1} if spec.revision is not None else _weights(spec.weights or {})
    return alias_document(await platform.registry.point(key, alias, weights))


@router.delete("/aliases/{alias}", summary="Delete an alias")
async def delete_alias(platform: PlatformDep, key: DeployableFunction, alias: str) -> Json:
    """The revisions stay."""
    await platform.registry.delete_alias(key, alias)
    return {"deleted": True, "name": key.name, "namespace": key.namespace, "alias": alias}


@router.post("/rollback", openapi_extra=takes(RollbackSpec), summary="Roll an alias back")
async def rollback(request: Request, platform: PlatformDep, key: DeployableFunction) -> Json:
    """To where it pointed before, or to the revision named."""
    spec = await read_document(request, RollbackSpec)
    return alias_document(await platform.registry.rollback(key, spec.alias, spec.revision))


@router.post("/promote", openapi_extra=takes(PromoteSpec), summary="Promote a revision")
async def promote(request: Request, platform: PlatformDep, key: DeployableFunction) -> Json:
    """Give an alias the revision named, or another alias's; the latest, if nothing is named."""
    spec = await read_document(request, PromoteSpec)
    return alias_document(await platform.registry.promote(key, spec.alias, spec.revision, spec.from_alias))


def _weights(given: dict[str, int]) -> dict[int, int]:
    try:
        return {int(number): weight for number, weight in given.items()}
    except ValueError:
        raise InvalidInput(f"weights must be by revision number, got {', '.join(given)}") from None
