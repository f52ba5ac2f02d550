"""``/v1/secrets``: set, list and delete; values go in and never come out."""

from __future__ import annotations

from fastapi import APIRouter, Request

from stoker_api.control.documents import Json
from stoker_api.control.edge import DeployNamespace, Document, PlatformDep, read_document, takes
from stoker_api.secrets import check_secret_name
from stoker_api.stores.records import SecretRecord

router = APIRouter(prefix="/v1/secrets", tags=["secrets"])


class SecretSpec(Document):
    """A secret's value."""

    value: str


@router.get("", summary="List secrets")
async def list_secrets(platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """Names and times; no values."""
    return {"secrets": [_document(record) for record in platform.secrets.names(namespace)]}


@router.put("/{name}", openapi_extra=takes(SecretSpec), summary="Set a secret")
async def put_secret(request: Request, platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Replicas that start from now on see it, if their function names it."""
    check_secret_name(name)
    spec = await read_document(request, SecretSpec)
    return _document(await platform.secrets.put(namespace, name, spec.value))


@router.delete("/{name}", summary="Delete a secret")
async def delete_secret(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Running replicas keep what they started with."""
    check_secret_name(name)
    await platform.secrets.delete(namespace, name)
    return {"deleted": True, "name": name, "namespace": namespace}


def _document(record: SecretRecord) -> Json:
    return {"name": record.name, "namespace": record.namespace, "updated_at": record.updated_at}
