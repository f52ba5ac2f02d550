"""``/v1/tokens``: create, list and revoke; for admins."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from stoker.errors import InvalidInput
from stoker.options import check_name
from stoker_api.control.documents import Json
from stoker_api.control.edge import AdminGrant, Document, PlatformDep, read_document, takes
from stoker_api.stores.records import Scope, TokenRecord

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


class TokenSpec(Document):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1)
    namespaces: list[str] | None = None
    expires_in_s: float | None = Field(default=None, gt=0, le=100 * 365 * 86_400)


@router.get("", summary="List tokens")
async def list_tokens(platform: PlatformDep, _grant: AdminGrant) -> Json:
    """Without their secret part."""
    return {"tokens": [_document(record) for record in platform.tokens.records()]}


@router.post("", status_code=201, openapi_extra=takes(TokenSpec), summary="Create a token")
async def create_token(request: Request, platform: PlatformDep, _grant: AdminGrant) -> Json:
    """``token`` is shown in this answer and never again."""
    spec = await read_document(request, TokenSpec)
    for namespace in spec.namespaces or ():
        check_name("namespace", namespace)
    namespaces = None if spec.namespaces is None else tuple(spec.namespaces)
    token, record = await platform.tokens.create(spec.name, _scopes(spec.scopes), namespaces, spec.expires_in_s)
    return {**_document(record), "token": token}


@router.delete("/{token_id}", summary="Revoke a token")
async def revoke_token(platform: PlatformDep, _grant: AdminGrant, token_id: str) -> Json:
    """It opens nothing from now on."""
    await platform.tokens.revoke(token_id)
    return {"deleted": True, "id": token_id}


def _scopes(names: list[str]) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name) for name in names)
    except ValueError as error:
        known = ", ".join(scope.value for scope in Scope)
        raise InvalidInput(f"scopes must be of {known}, got {', '.join(names)}") from error


def _document(record: TokenRecord) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "scopes": sorted(scope.value for scope in record.scopes),
        "namespaces": None if record.namespaces is None else list(record.namespaces),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
    }
